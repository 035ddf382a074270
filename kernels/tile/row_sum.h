// Sums over the threads that share a row.
#pragma once

#include "ptx/shuffle.h"

namespace strobe::kernel {

// kRowThreads neighbouring threads share a row: part of a warp, or a whole block. Every thread of the block
// calls it; every thread of a row gets the same bits.
template <int kRowThreads>
class RowSum {
 public:
  __device__ __forceinline__ float operator()(float x) {
    float sums[1] = {x};
    (*this)(sums);
    return sums[0];
  }

  // Several sums at once. One barrier a call: two sets of partial sums take turns, and whoever writes a set
  // again has passed the barrier of the other, after which nobody reads this one.
  template <int kCount>
  __device__ __forceinline__ void operator()(float (&x)[kCount]) {
    static_assert(kCount <= kMostSums);
    __shared__ float partial[2][kMostSums][kWarps];
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      x[i] = sum_of_lanes<kLanes>(x[i]);
      if (kWarps > 1 && threadIdx.x % kWarpThreads == 0) partial[turn_][i][threadIdx.x / kWarpThreads] = x[i];
    }
    if constexpr (kWarps > 1) {
      __syncthreads();
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        x[i] = 0;
#pragma unroll
        for (int warp = 0; warp < kWarps; ++warp) x[i] += partial[turn_][i][warp];
      }
      turn_ ^= 1;
    }
  }

 private:
  static constexpr int kMostSums = 2;
  static constexpr int kLanes = kRowThreads <= kWarpThreads ? kRowThreads : kWarpThreads;
  static constexpr int kWarps = kRowThreads <= kWarpThreads ? 1 : kRowThreads / kWarpThreads;
  int turn_ = 0;
};

}  // namespace strobe::kernel
