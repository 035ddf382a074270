// A pass over a row for its largest value.
#pragma once

#include "ptx/exponent.h"
#include "sampling/shared.cuh"

namespace strobe::kernel {

// The largest value of the row, and nearly the sum of the exponentials of its logits, in all threads of the
// cluster.
struct Peak {
  float largest = -infinity(), mass = 0;

  STROBE_DEVICE void add(const Peak& other, float factor) {
    const float both = fmaxf(largest, other.largest);
    mass = scaled(both, factor) + other.scaled(both, factor);
    largest = both;
  }

 private:
  STROBE_DEVICE float scaled(float reference, float factor) const {
    return mass == 0 ? 0.0f : mass * exp2_approx((largest - reference) * factor);
  }
};

STROBE_DEVICE Peak peak_of(const Columns& columns, Shared& shared, float factor, bool with_mass) {
  Peak peak;
  bool any_bad = false;
  columns.for_each([&](int, const float(&x)[kBatch][kVector]) {
    Peak batch;
#pragma unroll
    for (int i = 0; i < kBatch; ++i)
#pragma unroll
      for (int j = 0; j < kVector; ++j) {
        any_bad |= bad(x[i][j]);
        batch.largest = fmaxf(batch.largest, x[i][j]);
      }
    if (kLogits && with_mass && batch.largest > -infinity()) {
#pragma unroll
      for (int i = 0; i < kBatch; ++i)
#pragma unroll
        for (int j = 0; j < kVector; ++j) batch.mass += exp2_approx((x[i][j] - batch.largest) * factor);
      peak.add(batch, factor);
    } else {
      peak.largest = fmaxf(peak.largest, batch.largest);
    }
  });
  if (any_bad) add_shared(&shared.bad, 1);
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    const Peak other = {__shfl_xor_sync(0xffffffff, peak.largest, distance),
                        __shfl_xor_sync(0xffffffff, peak.mass, distance)};
    peak.add(other, factor);
  }
  if (lane_of_thread() == 0) {
    shared.warp_largest[warp_of_thread()] = peak.largest;
    shared.warp_mass[warp_of_thread()] = peak.mass;
  }
  __syncthreads();
  if (threadIdx.x < kCluster) {
    Peak block;
    for (int warp = 0; warp < kWarps; ++warp)
      block.add({shared.warp_largest[warp], shared.warp_mass[warp]}, factor);
    tell(shared.rank_largest[cluster_rank()], threadIdx.x, block.largest);
    tell(shared.rank_mass[cluster_rank()], threadIdx.x, block.mass);
    tell(shared.rank_bad[cluster_rank()], threadIdx.x, shared.bad);
  }
  wait_for_all();
  peak = {};
  for (uint32_t rank = 0; rank < kCluster; ++rank)
    peak.add({shared.rank_largest[rank], shared.rank_mass[rank]}, factor);
  return peak;
}

// Whether any token of the row is bad, after a pass for its peak.
STROBE_DEVICE bool is_bad(const Shared& shared) {
  uint32_t count = 0;
  for (uint32_t rank = 0; rank < kCluster; ++rank) count += shared.rank_bad[rank];
  return count != 0;
}

}  // namespace strobe::kernel
