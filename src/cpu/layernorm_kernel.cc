#include "cpu/norm_kernel.h"
#include "cpu/norm_row.h"

namespace strobe::cpu::STROBE_ISA {
namespace {

// The elements whose mean the differences are taken from.
constexpr int64_t kGuessed = 64;

template <class T>
STROBE_INLINE float mean_of(const InputRow<T>& row, int64_t size) {
  return sum_row<T>(
             size,
             [=](auto access, int64_t i, auto& sum) __attribute__((always_inline)) {
               F32 x[access.kVectors];
               row.load(access, i, x);
               for (int u = 0; u < access.kVectors; ++u) sum[u] += x[u];
             }) /
         static_cast<float>(size);
}

// Two passes over a row, the second from the first-level cache. The first sums differences from the mean of
// the row's first elements, and their squares: variance = mean square - (mean difference)^2. Plain squares
// would cancel where the mean is large; these lose at most a factor of hidden / kGuessed, for then the first
// elements are themselves that far from the others.
//
// The second pass fetches the next row, the first one the row after it, into the second level: beside gamma
// and beta, which are f32, the first has no room for two.
template <class T, class Out>
void layernorm(const NormRows& rows, int64_t begin, int64_t end) {
  const float* gamma = static_cast<const float*>(rows.weight);
  const float* beta = rows.bias;
  const auto size = static_cast<float>(rows.hidden);
  const float factor = rows.out_factor;
  for (int64_t r = begin; r < end; ++r) {
    const InputRow<T> row(rows, r), next(rows, r + 1 < end ? r + 1 : r), later(rows, r + 2 < end ? r + 2 : r);
    const float guess = mean_of(row, rows.hidden < kGuessed ? rows.hidden : kGuessed);
    F32 differences[2] = {};
    const float squares = sum_row<T>(
        rows.hidden, [ =, &differences ](auto access, int64_t i, auto& sum) __attribute__((always_inline)) {
          F32 x[access.kVectors];
          row.load(access, i, x);
          later.prefetch_far(access, i);
          for (int u = 0; u < access.kVectors; ++u) {
            const F32 difference = access.loaded(x[u] - guess);
            differences[u] += difference;
            sum[u] = fma(difference, difference, sum[u]);
          }
        });
    const float mean = reduce_add(differences[0] + differences[1]) / size;
    const float variance = squares / size - mean * mean;
    const float scale = 1.0f / __builtin_sqrtf((variance < 0 ? 0 : variance) + rows.eps);
    const float shift = -mean * scale;
    write_row<T, Out>(
        rows, r, row, next, [=](auto access, int64_t i, auto& x) __attribute__((always_inline)) {
          F32 g[access.kVectors], b[access.kVectors];
          access.load(gamma + i, g);
          access.load(beta + i, b);
          for (int u = 0; u < access.kVectors; ++u)
            x[u] = fma(fma(x[u] - guess, splat(scale), splat(shift)), g[u], b[u]);
          if constexpr (sizeof(Out) == 1)
            for (F32& y : x) y *= factor;
        });
  }
  if (rows.stream) stream_fence();
}

}  // namespace

void layernorm_rows(const NormRows& rows, int64_t begin, int64_t end) {
  with_types(rows, [&](auto in, auto out) { layernorm<decltype(in), decltype(out)>(rows, begin, end); });
}

}  // namespace strobe::cpu::STROBE_ISA
