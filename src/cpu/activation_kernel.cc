#include "cpu/activation_kernel.h"

#include "cpu/simd.h"

namespace strobe::cpu::STROBE_ISA {
namespace {

constexpr float kLog2E = 1.44269504088896340736f;

// x / (1 + e^-k): a sigmoid without the cancellation that 1 + tanh has where it is small.
STROBE_INLINE F32 times_sigmoid(F32 x, F32 k) { return x / (exp2(k * -kLog2E) + 1.0f); }

struct Silu {
  STROBE_INLINE F32 apply(F32 x) { return times_sigmoid(x, x); }
};

// (1 + erf(x / sqrt(2))) / 2 is erfc(-x / sqrt(2)) / 2, which does not cancel where x is negative.
struct Gelu {
  STROBE_INLINE F32 apply(F32 x) {
    const F32 tail = erfc_of_positive(abs(x) * 0.70710678118654752440f) * 0.5f;
    return x * select(x < 0.0f, tail, 1.0f - tail);
  }
};

// (1 + tanh(z)) / 2 is the sigmoid of 2z.
struct GeluTanh {
  STROBE_INLINE F32 apply(F32 x) {
    constexpr float kTwoRootTwoOverPi = 1.59576912160573071176f;
    return times_sigmoid(x, x * (x * x * (0.044715f * kTwoRootTwoOverPi) + kTwoRootTwoOverPi));
  }
};

template <class Function, class T, bool kStream>
void activate_row(const T* x, const T* factor, T* out, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const F32 y = Function::apply(load(x + i)) * load(factor + i);
    if constexpr (kStream)
      stream(out + i, y);
    else
      store(out + i, y);
  }
  if (i < n) {
    const int left = static_cast<int>(n - i);
    store_n(out + i, Function::apply(load_n(x + i, left)) * load_n(factor + i, left), left);
  }
}

template <class Function, class T>
void activate(const ActivationRows& rows, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const T* x = static_cast<const T*>(rows.input) + row * rows.input_stride;
    T* out = static_cast<T*>(rows.out) + row * rows.out_stride;
    if (rows.stream && reinterpret_cast<uintptr_t>(out) % (sizeof(T) * kLanes) == 0)
      activate_row<Function, T, true>(x, x + rows.hidden, out, rows.hidden);
    else
      activate_row<Function, T, false>(x, x + rows.hidden, out, rows.hidden);
  }
  if (rows.stream) stream_fence();
}

template <class Function>
void activate(const ActivationRows& rows, int64_t begin, int64_t end) {
  switch (rows.dtype) {
    case Dtype::kF32: return activate<Function, float>(rows, begin, end);
    case Dtype::kF16: return activate<Function, f16_t>(rows, begin, end);
    case Dtype::kBf16: return activate<Function, bf16_t>(rows, begin, end);
    default: return;
  }
}

}  // namespace

void silu_and_mul_rows(const ActivationRows& rows, int64_t begin, int64_t end) { activate<Silu>(rows, begin, end); }
void gelu_and_mul_rows(const ActivationRows& rows, int64_t begin, int64_t end) { activate<Gelu>(rows, begin, end); }
void gelu_tanh_and_mul_rows(const ActivationRows& rows, int64_t begin, int64_t end) {
  activate<GeluTanh>(rows, begin, end);
}

}  // namespace strobe::cpu::STROBE_ISA
