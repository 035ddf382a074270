// Sums over the threads that share a row.
#pragma once

#include "ptx/shuffle.h"

namespace strobe::kernel {

// kRowThreads neighbouring threads share a row: part of a warp, or a whole block. Every thread of the block
// calls it; every thread of a row gets the same bits.
template <int kRowThreads>
class RowSum {
 public:
  // One barrier a call: two sets of partial sums take turns, and whoever writes a set again has passed the
  // barrier of the other, after which nobody reads this one.
  __device__ __forceinline__ float operator()(float x) {
    if constexpr (kRowThreads <= kWarpThreads) return sum_of_lanes<kRowThreads>(x);
    __shared__ float partial[2][kWarps];
    x = sum_of_lanes<kWarpThreads>(x);
    if (threadIdx.x % kWarpThreads == 0) partial[turn_][threadIdx.x / kWarpThreads] = x;
    __syncthreads();
    float sum = 0;
#pragma unroll
    for (int warp = 0; warp < kWarps; ++warp) sum += partial[turn_][warp];
    turn_ ^= 1;
    return sum;
  }

 private:
  static constexpr int kWarps = kRowThreads <= kWarpThreads ? 1 : kRowThreads / kWarpThreads;
  int turn_ = 0;
};

}  // namespace strobe::kernel
