#include "cpu/norm_kernel.h"

#include "cpu/simd.h"

namespace strobe::cpu::STROBE_ISA {
namespace {

template <class T>
float sum_of_squares(const T* x, int64_t n) {
  F32 sum[4] = {};
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes)
    for (int u = 0; u < 4; ++u) {
      const F32 v = load(x + i + u * kLanes);
      sum[u] = fma(v, v, sum[u]);
    }
  for (; i < n; i += kLanes) {
    const F32 v = load_n(x + i, n - i < kLanes ? static_cast<int>(n - i) : kLanes);
    sum[0] = fma(v, v, sum[0]);
  }
  return reduce_add((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

template <class T, bool kStream>
void scale_row(const T* x, const T* weight, T* out, int64_t n, float scale, float offset) {
  const F32 factor = splat(scale), add = splat(offset);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const F32 y = load(x + i) * factor * (load(weight + i) + add);
    if constexpr (kStream)
      stream(out + i, y);
    else
      store(out + i, y);
  }
  if (i < n) {
    const int left = static_cast<int>(n - i);
    store_n(out + i, load_n(x + i, left) * factor * (load_n(weight + i, left) + add), left);
  }
}

template <class T>
void rmsnorm(const RmsNormRows& rows, int64_t begin, int64_t end) {
  const T* weight = static_cast<const T*>(rows.weight);
  for (int64_t row = begin; row < end; ++row) {
    const T* x = static_cast<const T*>(rows.input) + row * rows.input_stride;
    T* out = static_cast<T*>(rows.out) + row * rows.out_stride;
    const float mean = sum_of_squares(x, rows.hidden) / static_cast<float>(rows.hidden);
    const float scale = 1.0f / __builtin_sqrtf(mean + rows.eps);
    const bool aligned = reinterpret_cast<uintptr_t>(out) % (sizeof(T) * kLanes) == 0;
    if (rows.stream && aligned)
      scale_row<T, true>(x, weight, out, rows.hidden, scale, rows.weight_offset);
    else
      scale_row<T, false>(x, weight, out, rows.hidden, scale, rows.weight_offset);
  }
  if (rows.stream) stream_fence();
}

}  // namespace

void rmsnorm_rows(const RmsNormRows& rows, int64_t begin, int64_t end) {
  switch (rows.dtype) {
    case Dtype::kF32: return rmsnorm<float>(rows, begin, end);
    case Dtype::kF16: return rmsnorm<f16_t>(rows, begin, end);
    case Dtype::kBf16: return rmsnorm<bf16_t>(rows, begin, end);
    default: return;
  }
}

}  // namespace strobe::cpu::STROBE_ISA
