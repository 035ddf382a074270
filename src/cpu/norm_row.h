// What the norm kernels share: where a row's elements come from, how the norm is written, the choice of
// element types.
#pragma once

#include "cpu/norm_kernel.h"
#include "cpu/simd_row.h"

namespace strobe::cpu::STROBE_ISA {

// A row of the input.
template <class T>
struct InputRow {
  const T* input;
  InputRow(const NormRows& rows, int64_t row)
      : input(static_cast<const T*>(rows.input) + row * rows.input_stride) {}

  template <class Access, int kVectors>
  __attribute__((always_inline)) void load(Access access, int64_t i, F32 (&x)[kVectors]) const {
    access.load(input + i, x);
  }
  template <class Access, int kVectors>
  __attribute__((always_inline)) void keep(Access, int64_t, const F32 (&)[kVectors]) const {}
  template <class Access>
  __attribute__((always_inline)) void prefetch(Access access, int64_t i) const {
    access.prefetch(input + i);
  }
  template <class Access>
  __attribute__((always_inline)) void prefetch_far(Access access, int64_t i) const {
    access.prefetch_far(input + i);
  }
};

// A row of input + residual, whose rounded sum `keep` writes to the residual.
template <class T>
struct SumRow {
  const T* input;
  T* residual;
  SumRow(const NormRows& rows, int64_t row)
      : input(static_cast<const T*>(rows.input) + row * rows.input_stride),
        residual(static_cast<T*>(rows.residual) + row * rows.residual_stride) {}

  template <class Access, int kVectors>
  __attribute__((always_inline)) void load(Access access, int64_t i, F32 (&x)[kVectors]) const {
    F32 r[kVectors];
    access.load(input + i, x);
    access.load(residual + i, r);
    for (int u = 0; u < kVectors; ++u) x[u] += r[u];
  }
  template <class Access, int kVectors>
  __attribute__((always_inline)) void keep(Access access, int64_t i, const F32 (&x)[kVectors]) const {
    access.template store<false>(residual + i, x);
  }
  template <class Access>
  __attribute__((always_inline)) void prefetch(Access access, int64_t i) const {
    access.prefetch(input + i);
    access.prefetch(residual + i);
  }
};

// Writes a row of the norm: normalise(access, i, x) turns the elements x from i on into their norm. Meanwhile
// a later row is fetched, which the processor would not see coming: the loads and the arithmetic of this row
// are behind it.
template <class T, class Out, bool kStream, class Row, class Normalise>
STROBE_INLINE void write_row(const NormRows& rows, Out* out, Row row, Row later, Normalise normalise) {
  for_each_vectors<T, 2>(
      rows.hidden, [=](auto access, int64_t i) __attribute__((always_inline)) {
        F32 x[access.kVectors];
        row.load(access, i, x);
        later.prefetch(access, i);
        row.keep(access, i, x);
        normalise(access, i, x);
        access.template store<kStream>(out + i, x);
      });
}

// The same for row `r`, past the caches if asked for and possible.
template <class T, class Out, class Row, class Normalise>
STROBE_INLINE void write_row(const NormRows& rows, int64_t r, Row row, Row later, Normalise normalise) {
  Out* out = static_cast<Out*>(rows.out) + r * rows.out_stride;
  if (rows.stream && streamable(out))
    write_row<T, Out, true>(rows, out, row, later, normalise);
  else
    write_row<T, Out, false>(rows, out, row, later, normalise);
}

// Calls f(a value of the input's type, one of the output's).
template <class T, class F>
STROBE_INLINE void with_out_type(Dtype out, F f) {
  switch (out) {
    case Dtype::kE4m3:
      return f(T{}, e4m3_t{});
    case Dtype::kE5m2:
      return f(T{}, e5m2_t{});
    default:
      return f(T{}, T{});
  }
}
template <class F>
STROBE_INLINE void with_types(const NormRows& rows, F f) {
  switch (rows.dtype) {
    case Dtype::kF32:
      return with_out_type<float>(rows.out_dtype, f);
    case Dtype::kF16:
      return with_out_type<f16_t>(rows.out_dtype, f);
    case Dtype::kBf16:
      return with_out_type<bf16_t>(rows.out_dtype, f);
    default:
      return;
  }
}

}  // namespace strobe::cpu::STROBE_ISA
