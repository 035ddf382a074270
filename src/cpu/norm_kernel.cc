#include "cpu/norm_kernel.h"

#include "cpu/norm_row.h"

namespace strobe::cpu::STROBE_ISA {
namespace {

// Two passes over a row; the second finds it in the first-level cache. A residual is written in the second, after its last use.
template <class Row, class T, class Out>
void rmsnorm(const NormRows& rows, int64_t begin, int64_t end) {
  const T* weight = static_cast<const T*>(rows.weight);
  const F32 offset = splat(rows.weight_offset);
  for (int64_t r = begin; r < end; ++r) {
    const Row row(rows, r);
    const float squares = sum_row(rows.hidden, [&](int64_t i, int n) {
      const F32 x = row.at(i, n);
      return x * x;
    });
    const F32 scale = splat(1.0f / __builtin_sqrtf(squares / static_cast<float>(rows.hidden) + rows.eps));
    write_row<Out>(rows, r, [&](int64_t i, int n) {
      const F32 x = row.at(i, n);
      row.keep(i, x, n);
      return x * scale * (load_some(weight + i, n) + offset);
    });
  }
  if (rows.stream) stream_fence();
}

}  // namespace

void rmsnorm_rows(const NormRows& rows, int64_t begin, int64_t end) {
  with_types(rows, [&](auto in, auto out) {
    using T = decltype(in);
    using Out = decltype(out);
    if (rows.residual != nullptr)
      rmsnorm<SumRow<T>, T, Out>(rows, begin, end);
    else
      rmsnorm<InputRow<T>, T, Out>(rows, begin, end);
  });
}

}  // namespace strobe::cpu::STROBE_ISA
