#include "cpu/index_kernel.h"

#include "cpu/simd.h"

namespace strobe::cpu::STROBE_ISA {
namespace {

I32 load_indices(const int32_t* p) {
  I32 x;
  __builtin_memcpy(&x, p, sizeof x);
  return x;
}

}  // namespace

void copy_indices(const int32_t* from, int32_t* to, int64_t n, int32_t* lowest, int32_t* highest) {
  int32_t low = 0, high = -1;
  int64_t i = 0;
  if (n >= 2 * kLanes) {
    I32 lows[2] = {}, highs[2] = {splat(-1), splat(-1)};
    for (; i + 2 * kLanes <= n; i += 2 * kLanes)
      for (int u = 0; u < 2; ++u) {
        const I32 x = load_indices(from + i + u * kLanes);
        __builtin_memcpy(to + i + u * kLanes, &x, sizeof x);
        lows[u] = select(x < lows[u], x, lows[u]);
        highs[u] = select(x > highs[u], x, highs[u]);
      }
    for (int u = 0; u < 2; ++u)
      for (int lane = 0; lane < kLanes; ++lane) {
        low = lows[u][lane] < low ? lows[u][lane] : low;
        high = highs[u][lane] > high ? highs[u][lane] : high;
      }
  }
  for (; i < n; ++i) {
    to[i] = from[i];
    low = from[i] < low ? from[i] : low;
    high = from[i] > high ? from[i] : high;
  }
  *lowest = low;
  *highest = high;
}

}  // namespace strobe::cpu::STROBE_ISA
