// One pass over a row: what lies above a window, and a list of the tokens in it.
//
// Every block sends what it finds to the first of the cluster: the weight of each segment and each warp, and
// the tokens in the window, in any order.
#pragma once

#include "sampling/guess.cuh"

namespace strobe::kernel {

// A token in a list: its key above its column.
STROBE_DEVICE uint64_t entry_of(float x, int column) {
  return static_cast<uint64_t>(key_of(x)) << 32 | static_cast<uint32_t>(column);
}

// Appends the values whose bits are set in `chosen` (bit i * kVector + j: x[i][j]) to the first block's list.
STROBE_DEVICE void append(uint32_t chosen, int first_column, const float (&x)[kBatch][kVector],
                          Shared& shared, uint64_t* list, uint32_t capacity) {
  const auto own = static_cast<uint32_t>(__popc(chosen));
  if (!__any_sync(0xffffffff, own != 0)) return;
  // How many the lanes before this one have, and all: from the bits of their numbers.
  const uint32_t lanes_before = (1u << lane_of_thread()) - 1;
  uint32_t before = 0, all = 0;
#pragma unroll
  for (int bit = 0; 1 << bit <= kBatch * kVector; ++bit) {
    const uint32_t votes = votes_of_warp((own >> bit & 1) != 0);
    before += static_cast<uint32_t>(__popc(votes & lanes_before)) << bit;
    all += static_cast<uint32_t>(__popc(votes)) << bit;
  }
  uint32_t at = 0;
  if (lane_of_thread() == 0) at = add_of_first(&shared.listed, all);
  at = __shfl_sync(0xffffffff, at, 0) + before;
#pragma unroll
  for (int i = 0; i < kBatch; ++i)
#pragma unroll
    for (int j = 0; j < kVector; ++j)
      if ((chosen >> (i * kVector + j) & 1) != 0) {
        if (at < capacity) tell_first(list[at], entry_of(x[i][j], first_column + i * kVectorStep + j));
        ++at;
      }
}

STROBE_DEVICE int warp_of_cluster() { return static_cast<int>(cluster_rank()) * kWarps + warp_of_thread(); }

// kWeighs: shared.all gets all weight, shared.segment what lies above the window; the largest logit is known.
// A barrier of the cluster has to follow.
template <bool kWeighs>
STROBE_DEVICE void survey(const SamplingParams& params, const Columns& columns, Shared& shared,
                          const Window& window, uint64_t* list) {
  const auto capacity = static_cast<uint32_t>(params.list_capacity);
  uint64_t all = 0;
  bool any_bad = false;
  columns.for_each_segment([&](int segment) {
    WeightSum sum, sum_above;
    columns.in_segment<true>(segment, [&](int first, const float(&x)[kBatch][kVector]) {
      uint32_t chosen = 0;
#pragma unroll
      for (int i = 0; i < kBatch; ++i)
#pragma unroll
        for (int j = 0; j < kVector; ++j) {
          any_bad |= bad(x[i][j]);
          const bool is_above = x[i][j] >= window.high;
          if constexpr (kWeighs) {
            const WeightParts weight(shared.row.value(x[i][j]));
            sum.add(weight);
            if (is_above) sum_above.add(weight);
          }
          if (x[i][j] > window.low && !is_above) chosen |= 1u << (i * kVector + j);
        }
      append(chosen, first, x, shared, list, capacity);
    });
    if constexpr (kWeighs) {
      all += sum.total();
      const uint64_t above = sum_of_lanes(sum_above.total());
      if (lane_of_thread() == 0) tell_first(shared.segment[segment], above);
    }
  });
  const bool warp_bad = __any_sync(0xffffffff, any_bad);
  if constexpr (kWeighs) all = sum_to_last_lane(all);
  if (lane_of_thread() == 0) {
    tell_first(shared.all[warp_of_cluster()], all);
    tell_first(shared.bad_of_warp[warp_of_cluster()], static_cast<uint32_t>(warp_bad));
  }
}

// Of the first block, behind a barrier of the cluster.
STROBE_DEVICE bool any_bad_warp(const Shared& shared, int warps = kCluster * kWarps) {
  uint32_t bad = 0;
  for (int warp = lane_of_thread(); warp < warps; warp += 32) bad |= shared.bad_of_warp[warp];
  return __any_sync(0xffffffff, bad != 0);
}
// This thread's part of all weight, and of what the segments weigh.
STROBE_DEVICE uint64_t own_part_of_all(const Shared& shared) {
  const auto thread = static_cast<int>(threadIdx.x);
  return thread < kCluster * kWarps ? shared.all[thread] : 0;
}
STROBE_DEVICE uint64_t own_part_of_segments(const SamplingParams& params, const Shared& shared) {
  uint64_t own = 0;
  for (int segment = static_cast<int>(threadIdx.x); segment < params.segments; segment += kThreads)
    own += shared.segment[segment];
  return own;
}

}  // namespace strobe::kernel
