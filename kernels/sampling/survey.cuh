// One pass over a row: what lies above a window, and a list of the tokens in it.
//
// Every block sends what it finds to the first of the cluster: the weight of each segment and each warp, and,
// from its own list, the tokens in the window, in any order.
#pragma once

#include "sampling/guess.cuh"

namespace strobe::kernel {

// A token in a list: its key above its column. Listed probabilities are beyond 0: their bits are the key.
STROBE_DEVICE uint64_t entry_of(float x, int column) {
  return static_cast<uint64_t>(kLogits ? key_of_logit(x) : word_of(x)) << 32 | static_cast<uint32_t>(column);
}

// Appends entry(i, j) to the block's list for each bit i * kVector + j of `chosen`.
template <class F>
STROBE_DEVICE void append(uint32_t chosen, F entry, Shared& shared, uint64_t* list, uint32_t capacity) {
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
  if (lane_of_thread() == 0) at = add_shared(&shared.listed, all);
  at = __shfl_sync(0xffffffff, at, 0) + before;
#pragma unroll
  for (int i = 0; i < kBatch; ++i)
#pragma unroll
    for (int j = 0; j < kVector; ++j)
      if ((chosen >> (i * kVector + j) & 1) != 0) {
        if (at < capacity) list[at] = entry(i, j);
        ++at;
      }
}

// Brings the lists of all blocks to the first, unless they are too long; returns how many tokens they have.
// Behind a barrier of the cluster.
STROBE_DEVICE uint32_t gather(Shared& shared, uint64_t* list, uint32_t capacity) {
  __syncthreads();
  const uint32_t own = shared.listed;
  if constexpr (kCluster == 1) return own;
  if (threadIdx.x < kCluster) tell(shared.rank_listed[cluster_rank()], threadIdx.x, own);
  wait_for_all();
  uint32_t before = 0, all = 0;
  for (uint32_t rank = 0; rank < kCluster; ++rank) {
    if (rank < cluster_rank()) before += shared.rank_listed[rank];
    all += shared.rank_listed[rank];
  }
  if (cluster_rank() != 0 && all <= capacity)
    for (uint32_t i = threadIdx.x; i < own; i += kThreads) tell_first(list[before + i], list[i]);
  wait_for_all();
  return all;
}

// kWeighs: shared.all gets all weight, shared.segment what lies above the window; the largest logit is known.
// gather() has to follow.
template <bool kWeighs>
STROBE_DEVICE void survey(const SamplingParams& params, const Columns& columns, Shared& shared,
                          uint64_t* list) {
  const auto capacity = static_cast<uint32_t>(params.cut.list_capacity);
  uint64_t all = 0;
  bool any_bad = false;
  columns.for_each_segment([&](int segment) {
    WeightSum sum, sum_above;
    columns.in_segment(segment, [&](int first, const float(&x)[kBatch][kVector]) {
      uint32_t chosen = 0;
#pragma unroll
      for (int i = 0; i < kBatch; ++i)
#pragma unroll
        for (int j = 0; j < kVector; ++j) {
          any_bad |= bad(x[i][j]);
          const bool is_above = x[i][j] >= shared.window.high;
          if constexpr (kWeighs) {
            const WeightParts weight(shared.row.value(x[i][j]));
            sum.add(weight);
            if (is_above) sum_above.add(weight);
          }
          if (x[i][j] > shared.window.low && !is_above) chosen |= 1u << (i * kVector + j);
        }
      append(
          chosen, [&](int i, int j) { return entry_of(x[i][j], first + i * kVectorStep + j); }, shared, list,
          capacity);
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

// This thread's part of all weight, and of what the segments weigh.
STROBE_DEVICE uint64_t own_part_of_all(const Shared& shared) {
  const auto thread = static_cast<int>(threadIdx.x);
  return thread < kCluster * kWarps ? shared.all[thread] : 0;
}
STROBE_DEVICE uint64_t own_part_of_segments(const SamplingParams& params, const Shared& shared) {
  uint64_t own = 0;
  for (int segment = static_cast<int>(threadIdx.x); segment < params.cut.segments; segment += kThreads)
    own += shared.segment[segment];
  return own;
}

}  // namespace strobe::kernel
