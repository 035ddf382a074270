#include "cpu/norm_kernel.h"
#include "cpu/norm_row.h"

namespace strobe::cpu::STROBE_ISA {
namespace {

// Three passes over a row, all but the first from the first-level cache. The variance is that of the differences from the
// mean: from the sum of squares alone it would cancel where the mean is large. There the mean of the first pass is off by
// the roundings of a large sum; the second pass finds by how much.
template <class T, class Out>
void layernorm(const NormRows& rows, int64_t begin, int64_t end) {
  const float* gamma = static_cast<const float*>(rows.weight);
  const auto size = static_cast<float>(rows.hidden);
  for (int64_t r = begin; r < end; ++r) {
    const InputRow<T> row(rows, r);
    const F32 mean = splat(sum_row(rows.hidden, [&](int64_t i, int n) { return row.at(i, n); }) / size);
    F32 differences = {};
    const float squares = sum_row(rows.hidden, [&](int64_t i, int n) {
      F32 x = row.at(i, n) - mean;
      if (n < kLanes) x = select(first_lanes(n), x, F32{});
      differences += x;
      return x * x;
    });
    const float correction = reduce_add(differences) / size;
    const F32 scale = splat(1.0f / __builtin_sqrtf(squares / size - correction * correction + rows.eps));
    const F32 shift = splat(correction);
    write_row<Out>(rows, r, [&](int64_t i, int n) {
      return fma((row.at(i, n) - mean - shift) * scale, load_some(gamma + i, n), load_some(rows.bias + i, n));
    });
  }
  if (rows.stream) stream_fence();
}

}  // namespace

void layernorm_rows(const NormRows& rows, int64_t begin, int64_t end) {
  with_types(rows, [&](auto in, auto out) { layernorm<decltype(in), decltype(out)>(rows, begin, end); });
}

}  // namespace strobe::cpu::STROBE_ISA
