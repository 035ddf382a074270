#include "cpu/activation_kernel.h"

#include "cpu/simd_row.h"

namespace strobe::cpu::STROBE_ISA {
namespace {

constexpr float kLog2E = 1.44269504088896340736f;

// x / (1 + 2^-k): a sigmoid without the cancellation that 1 + tanh has where it is small. `minus_k` is used
// up.
template <int kVectors>
STROBE_INLINE void times_sigmoid(F32 (&x)[kVectors], F32 (&minus_k)[kVectors]) {
  exp2_each(minus_k);
  for (int u = 0; u < kVectors; ++u) x[u] /= minus_k[u] + 1.0f;
}

struct Silu {
  template <class T, int kVectors>
  STROBE_INLINE void apply(F32 (&x)[kVectors]) {
    F32 minus_k[kVectors];
    for (int u = 0; u < kVectors; ++u) minus_k[u] = x[u] * -kLog2E;
    times_sigmoid(x, minus_k);
  }
};

// (1 + erf(x / sqrt(2))) / 2 is erfc(-x / sqrt(2)) / 2, which does not cancel where x is negative.
struct Gelu {
  template <class T, int kVectors>
  STROBE_INLINE void apply(F32 (&x)[kVectors]) {
    F32 tail[kVectors];
    if constexpr (sizeof(T) == 2) {
      for (int u = 0; u < kVectors; ++u) tail[u] = abs(x[u]);
      normal_tail_for_16_bits_each(tail);
    } else {
      for (int u = 0; u < kVectors; ++u) tail[u] = abs(x[u]) * 0.70710678118654752440f;
      erfc_of_positive_each(tail);
      for (F32& t : tail) t *= 0.5f;
    }
    for (int u = 0; u < kVectors; ++u) x[u] *= select(x[u] < 0.0f, tail[u], 1.0f - tail[u]);
  }
};

// (1 + tanh(z)) / 2 is the sigmoid of 2z.
struct GeluTanh {
  template <class T, int kVectors>
  STROBE_INLINE void apply(F32 (&x)[kVectors]) {
    constexpr float kFactor = 1.59576912160573071176f * kLog2E;  // 2 sqrt(2 / pi), in powers of 2
    F32 minus_k[kVectors];
    for (int u = 0; u < kVectors; ++u) minus_k[u] = x[u] * (x[u] * x[u] * (-0.044715f * kFactor) - kFactor);
    times_sigmoid(x, minus_k);
  }
};

constexpr int kPairs = 2;

// `next` is the row after this one: it is fetched meanwhile.
template <class Function, class T, bool kStream>
void activate_row(const T* x, const T* next, T* out, int64_t hidden) {
  for_each_vectors<T, kPairs>(
      hidden, [=](auto access, int64_t i) __attribute__((always_inline)) {
        F32 y[access.kVectors], f[access.kVectors];
        access.load(x + i, y);
        access.load(x + hidden + i, f);
        access.prefetch(next + i);
        access.prefetch(next + hidden + i);
        Function::template apply<T>(y);
        for (int u = 0; u < access.kVectors; ++u) y[u] *= f[u];
        access.template store<kStream>(out + i, y);
      });
}

template <class Function, class T>
void activate(const ActivationRows& rows, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const T* x = static_cast<const T*>(rows.input) + row * rows.input_stride;
    const T* next = row + 1 < end ? x + rows.input_stride : x;
    T* out = static_cast<T*>(rows.out) + row * rows.out_stride;
    if (rows.stream && streamable(out))
      activate_row<Function, T, true>(x, next, out, rows.hidden);
    else
      activate_row<Function, T, false>(x, next, out, rows.hidden);
  }
  if (rows.stream) stream_fence();
}

template <class Function>
void activate(const ActivationRows& rows, int64_t begin, int64_t end) {
  switch (rows.dtype) {
    case Dtype::kF32:
      return activate<Function, float>(rows, begin, end);
    case Dtype::kF16:
      return activate<Function, f16_t>(rows, begin, end);
    case Dtype::kBf16:
      return activate<Function, bf16_t>(rows, begin, end);
    default:
      return;
  }
}

}  // namespace

void silu_and_mul_rows(const ActivationRows& rows, int64_t begin, int64_t end) {
  activate<Silu>(rows, begin, end);
}
void gelu_and_mul_rows(const ActivationRows& rows, int64_t begin, int64_t end) {
  activate<Gelu>(rows, begin, end);
}
void gelu_tanh_and_mul_rows(const ActivationRows& rows, int64_t begin, int64_t end) {
  activate<GeluTanh>(rows, begin, end);
}

}  // namespace strobe::cpu::STROBE_ISA
