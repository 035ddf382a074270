// Reductions over a warp in one instruction (sm_80 and later). All lanes take part and get the result.
#pragma once

#include "tile/ints.h"

namespace strobe::kernel {

// Modulo 2^32.
STROBE_DEVICE uint32_t sum_of_warp(uint32_t x) {
  uint32_t sum;
  asm volatile("redux.sync.add.u32 %0, %1, 0xffffffff;" : "=r"(sum) : "r"(x));
  return sum;
}

STROBE_DEVICE uint32_t max_of_warp(uint32_t x) {
  uint32_t largest;
  asm volatile("redux.sync.max.u32 %0, %1, 0xffffffff;" : "=r"(largest) : "r"(x));
  return largest;
}

// A bit of each lane.
STROBE_DEVICE uint32_t votes_of_warp(bool vote) {
  uint32_t votes;
  asm volatile("{ .reg .pred p; setp.ne.u32 p, %1, 0; vote.sync.ballot.b32 %0, p, 0xffffffff; }"
               : "=r"(votes)
               : "r"(static_cast<uint32_t>(vote)));
  return votes;
}

}  // namespace strobe::kernel
