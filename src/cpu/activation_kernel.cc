#include "cpu/activation_kernel.h"

#include "cpu/simd_row.h"

namespace strobe::cpu::STROBE_ISA {
namespace {

constexpr float kLog2E = 1.44269504088896340736f;

// The functions take the vectors of one step together, stage by stage: their chains of dependent operations
// are long, and the processor's window holds several only when they alternate.

// x / (1 + e^-k): a sigmoid without the cancellation that 1 + tanh has where it is small.
template <int kVectors>
STROBE_INLINE void times_sigmoid(F32 (&x)[kVectors], const F32 (&k)[kVectors]) {
  F32 e[kVectors];
  for (int u = 0; u < kVectors; ++u) e[u] = exp2(k[u] * -kLog2E);
  for (int u = 0; u < kVectors; ++u) x[u] /= e[u] + 1.0f;
}

struct Silu {
  template <int kVectors>
  STROBE_INLINE void apply(F32 (&x)[kVectors]) {
    times_sigmoid(x, x);
  }
};

// (1 + erf(x / sqrt(2))) / 2 is erfc(-x / sqrt(2)) / 2, which does not cancel where x is negative.
struct Gelu {
  template <int kVectors>
  STROBE_INLINE void apply(F32 (&x)[kVectors]) {
    F32 tail[kVectors];
    for (int u = 0; u < kVectors; ++u) tail[u] = erfc_of_positive(abs(x[u]) * 0.70710678118654752440f) * 0.5f;
    for (int u = 0; u < kVectors; ++u) x[u] *= select(x[u] < 0.0f, tail[u], 1.0f - tail[u]);
  }
};

// (1 + tanh(z)) / 2 is the sigmoid of 2z.
struct GeluTanh {
  template <int kVectors>
  STROBE_INLINE void apply(F32 (&x)[kVectors]) {
    constexpr float kTwoRootTwoOverPi = 1.59576912160573071176f;
    F32 k[kVectors];
    for (int u = 0; u < kVectors; ++u)
      k[u] = x[u] * (x[u] * x[u] * (0.044715f * kTwoRootTwoOverPi) + kTwoRootTwoOverPi);
    times_sigmoid(x, k);
  }
};

// `next` is the row after this one: it is fetched meanwhile.
template <class Function, class T, bool kStream>
void activate_row(const T* x, const T* next, T* out, int64_t hidden) {
  for_each_vectors<T>(
      hidden, [=](auto access, int64_t i) __attribute__((always_inline)) {
        F32 y[access.kVectors], f[access.kVectors];
        access.load(x + i, y);
        access.load(x + hidden + i, f);
        prefetch_two(next + i);
        prefetch_two(next + hidden + i);
        Function::apply(y);
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
