// A draw from what the segments of a row weigh.
#pragma once

#include "sampling/philox.h"
#include "sampling/shared.cuh"

namespace strobe::kernel {

// Calls put(column), in one thread, for the column into whose weight shared.random falls, where
// shared.segment has the weights of the segments and weight_of(column) is that of a column. False, and no
// call, when all of them are 0. All threads of the first block call it.
template <class WeightOf, class Put>
STROBE_DEVICE bool draw_column(const RowCut& cut, const Columns& columns, Shared& shared, WeightOf weight_of,
                               Put put) {
  constexpr int kOwn = kMostSegments / kThreads;
  const int first = static_cast<int>(threadIdx.x) * kOwn;
  uint64_t own[kOwn], sum = 0, all;
#pragma unroll
  for (int i = 0; i < kOwn; ++i) sum += own[i] = first + i < cut.segments ? shared.segment[first + i] : 0;
  uint64_t before = sum_before(sum, shared, all);
  if (all == 0) return false;
  uint64_t target = scaled_to(shared.random, all);
#pragma unroll
  for (int i = 0; i < kOwn; ++i) {
    if (target >= before && target - before < own[i]) {
      shared.target_segment = first + i;
      shared.target = target - before;
    }
    before += own[i];
  }
  __syncthreads();
  target = shared.target;
  const int begin = shared.target_segment * columns.segment_columns(),
            end = min(begin + columns.segment_columns(), cut.vocab_size);
  for (int at = begin; at < end; at += kThreads) {
    const int column = at + static_cast<int>(threadIdx.x);
    const uint64_t weight = column < end ? weight_of(column) : 0;
    before = sum_before(weight, shared, all);
    if (target >= before && target - before < weight) put(column);
    if (target < all) break;
    target -= all;
  }
  return true;
}

}  // namespace strobe::kernel
