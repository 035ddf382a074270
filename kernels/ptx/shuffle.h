// Exchange of values among the lanes of a warp.
#pragma once

#include "tile/ints.h"

namespace strobe::kernel {

inline constexpr int kWarpThreads = 32;

// The sum over groups of kLanes neighbouring lanes (a power of two), the same bits in each of them. All lanes
// of the warp take part.
template <int kLanes>
STROBE_DEVICE float sum_of_lanes(float x) {
  static_assert(kLanes <= kWarpThreads);
#pragma unroll
  for (int distance = kLanes / 2; distance > 0; distance /= 2) x += __shfl_xor_sync(0xffffffff, x, distance);
  return x;
}

}  // namespace strobe::kernel
