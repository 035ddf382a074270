// What the norm kernels share: where a row's elements come from, the walk along it, the choice of element types.
// Functions of (i, n) take elements [i, i + n): n is the constant kLanes for full vectors and less for the rest of the row.
#pragma once

#include "cpu/norm_kernel.h"
#include "cpu/simd.h"

namespace strobe::cpu::STROBE_ISA {

template <class T>
STROBE_INLINE F32 load_some(const T* p, int n) {
  return n == kLanes ? load(p) : load_n(p, n);
}
template <bool kStream, class T>
STROBE_INLINE void store_some(T* p, F32 x, int n) {
  if (n < kLanes) return store_n(p, x, n);
  if constexpr (kStream)
    stream(p, x);
  else
    store(p, x);
}

// A row of the input.
template <class T>
struct InputRow {
  const T* input;
  InputRow(const NormRows& rows, int64_t row) : input(static_cast<const T*>(rows.input) + row * rows.input_stride) {}
  F32 at(int64_t i, int n) const { return load_some(input + i, n); }
  void keep(int64_t, F32, int) const {}
};

// A row of input + residual, whose rounded sum `keep` writes to the residual.
template <class T>
struct SumRow {
  const T* input;
  T* residual;
  SumRow(const NormRows& rows, int64_t row)
      : input(static_cast<const T*>(rows.input) + row * rows.input_stride),
        residual(static_cast<T*>(rows.residual) + row * rows.residual_stride) {}
  F32 at(int64_t i, int n) const { return load_some(input + i, n) + load_some(residual + i, n); }
  void keep(int64_t i, F32 x, int n) const { store_some<false>(residual + i, x, n); }
};

// The sum of term(i, n) over a row of `size` elements; lanes from n on must be 0. Four partial sums hide the adder's latency.
template <class Term>
STROBE_INLINE float sum_row(int64_t size, Term term) {
  F32 sum[4] = {};
  int64_t i = 0;
  for (; i + 4 * kLanes <= size; i += 4 * kLanes)
    for (int u = 0; u < 4; ++u) sum[u] += term(i + u * kLanes, kLanes);
  for (; i < size; i += kLanes) sum[0] += term(i, size - i < kLanes ? static_cast<int>(size - i) : kLanes);
  return reduce_add((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

// Writes value(i, n) along a row of `out`, times out_factor when it is a quantised one.
template <class Out, bool kStream, class Value>
STROBE_INLINE void write_row(const NormRows& rows, Out* out, Value value) {
  const auto step = [&](int64_t i, int n) {
    F32 y = value(i, n);
    if constexpr (sizeof(Out) == 1) y *= rows.out_factor;
    store_some<kStream>(out + i, y, n);
  };
  int64_t i = 0;
  for (; i + kLanes <= rows.hidden; i += kLanes) step(i, kLanes);
  if (i < rows.hidden) step(i, static_cast<int>(rows.hidden - i));
}

// The same for row `row`, past the caches if asked for and possible.
template <class Out, class Value>
STROBE_INLINE void write_row(const NormRows& rows, int64_t row, Value value) {
  Out* out = static_cast<Out*>(rows.out) + row * rows.out_stride;
  if (rows.stream && reinterpret_cast<uintptr_t>(out) % (sizeof(Out) * kLanes) == 0)
    write_row<Out, true>(rows, out, value);
  else
    write_row<Out, false>(rows, out, value);
}

// Calls f(a value of the input's type, one of the output's).
template <class T, class F>
STROBE_INLINE void with_out_type(Dtype out, F f) {
  switch (out) {
    case Dtype::kE4m3: return f(T{}, e4m3_t{});
    case Dtype::kE5m2: return f(T{}, e5m2_t{});
    default: return f(T{}, T{});
  }
}
template <class F>
STROBE_INLINE void with_types(const NormRows& rows, F f) {
  switch (rows.dtype) {
    case Dtype::kF32: return with_out_type<float>(rows.out_dtype, f);
    case Dtype::kF16: return with_out_type<f16_t>(rows.out_dtype, f);
    case Dtype::kBf16: return with_out_type<bf16_t>(rows.out_dtype, f);
    default: return;
  }
}

}  // namespace strobe::cpu::STROBE_ISA
