// Stands in for kernels/ptx/reduce.h.
#pragma once

#include "tile/ints.h"

namespace strobe::kernel {

EMULATED uint32_t sum_of_warp(uint32_t x) {
  for (int distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(0xffffffff, x, distance);
  return x;
}
EMULATED uint32_t max_of_warp(uint32_t x) {
  for (int distance = 16; distance > 0; distance /= 2) x = max(x, __shfl_xor_sync(0xffffffff, x, distance));
  return x;
}

EMULATED uint32_t votes_of_warp(bool vote) { return sum_of_warp(vote ? 1u << threadIdx.x % 32 : 0); }

}  // namespace strobe::kernel
