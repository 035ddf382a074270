// What the blocks of a cluster share while they work on a row, and sums over threads.
#pragma once

#include "ptx/atomic.h"
#include "ptx/cluster.h"
#include "ptx/reduce.h"
#include "sampling/row.cuh"

namespace strobe::kernel {

constexpr int kRoundBits = 11, kBins = 1 << kRoundBits;

constexpr int kFew = 32;

// What is known of a row behind its survey.
enum class Outcome : uint32_t { kSolved, kUnsolved, kBad };

// The shared memory of a block, in front of its list or of the columns that it keeps.
struct alignas(16) Shared {
  uint32_t low[kBins], high[kBins];  // words of the bins
  uint64_t warp[kWarps], warp_more[kWarps];
  Row row;
  Window window;
  uint64_t random;
  float warp_largest[kWarps], warp_mass[kWarps], warp_variance[kWarps];
  uint32_t warp_first[kWarps], warp_last[kWarps];
  uint32_t bad;     // threads that have seen a bad token
  uint32_t listed;  // tokens that the block should have in its list

  // Of the first block of the cluster, to which the others tell it:
  uint64_t segment[kMostSegments];          // weights
  uint64_t all[kCluster * kWarps];          // the weight that each warp has seen,
  uint32_t bad_of_warp[kCluster * kWarps];  // and whether it has seen a bad token
  uint32_t few;
  uint32_t few_key[kFew];
  uint64_t few_amount[kFew];
  uint64_t target;  // what is left of a random number in the segment that it falls into
  int32_t target_segment;

  // What the blocks of the cluster tell each other, by rank:
  uint64_t rank_part[kCluster];  // of a histogram
  uint32_t rank_bad[kCluster], rank_listed[kCluster];
  float rank_largest[kCluster], rank_mass[kCluster];
  uint32_t found;  // the bin in which the wanted amount is reached,
  uint64_t above;  // and what lies above it

  // What the first block tells all, beside the row's threshold and largest value:
  Outcome outcome;
  uint64_t kept;  // weight
};

static_assert(sizeof(Shared) <= kSamplingSharedBytes);

STROBE_DEVICE void wait_for_all() {
  if constexpr (kCluster > 1)
    wait_for_cluster();
  else
    __syncthreads();
}

// Writes to the same place of all blocks, or of that of `rank`.
template <class T>
STROBE_DEVICE void tell(T& shared, uint32_t rank, T value) {
  if constexpr (kCluster > 1)
    store_of_rank(&shared, rank, value);
  else
    shared = value;
}
template <class T>
STROBE_DEVICE void tell_all(T& shared, T value) {
  for (uint32_t rank = 0; rank < kCluster; ++rank) tell(shared, rank, value);
}

template <class T>
STROBE_DEVICE void tell_first(T& shared, T value) {
  tell(shared, 0, value);
}
// Of the block's row; all threads of the block call them.
STROBE_DEVICE void set_largest(Shared& shared, float largest) {
  if (threadIdx.x == 0) shared.row.set_largest(largest);
  __syncthreads();
}
STROBE_DEVICE void set_window(Shared& shared, const Window& window) {
  if (threadIdx.x == 0) shared.window = window;
  __syncthreads();
}
STROBE_DEVICE void raise_threshold(Shared& shared, float threshold) {
  if (threadIdx.x == 0) shared.row.threshold = fmaxf(shared.row.threshold, threshold);
  __syncthreads();
}

STROBE_DEVICE int warp_of_cluster() { return static_cast<int>(cluster_rank()) * kWarps + warp_of_thread(); }

// Whether any warp of the cluster has told the first block of a bad token; of that block, behind a barrier of
// the cluster.
STROBE_DEVICE bool any_bad_warp(const Shared& shared, int warps = kCluster * kWarps) {
  uint32_t bad = 0;
  for (int warp = lane_of_thread(); warp < warps; warp += 32) bad |= shared.bad_of_warp[warp];
  return __any_sync(0xffffffff, bad != 0);
}

STROBE_DEVICE uint64_t down(uint64_t x, int distance) {
  const auto low = static_cast<uint32_t>(x), high = static_cast<uint32_t>(x >> 32);
  return __shfl_down_sync(0xffffffff, low, distance) |
         static_cast<uint64_t>(__shfl_down_sync(0xffffffff, high, distance)) << 32;
}
STROBE_DEVICE uint64_t up(uint64_t x, int distance) {
  const auto low = static_cast<uint32_t>(x), high = static_cast<uint32_t>(x >> 32);
  return __shfl_up_sync(0xffffffff, low, distance) |
         static_cast<uint64_t>(__shfl_up_sync(0xffffffff, high, distance)) << 32;
}
STROBE_DEVICE uint64_t of_lane(uint64_t x, int lane) {
  const auto low = static_cast<uint32_t>(x), high = static_cast<uint32_t>(x >> 32);
  return __shfl_sync(0xffffffff, low, lane) | static_cast<uint64_t>(__shfl_sync(0xffffffff, high, lane))
                                                  << 32;
}

// The sum of this lane's x and those of the lanes behind it.
STROBE_DEVICE uint64_t sum_to_last_lane(uint64_t x) {
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const uint64_t more = down(x, distance);
    if (lane_of_thread() + distance < 32) x += more;
  }
  return x;
}

// The sum of x over the threads from this one to the last; shared.warp has the sums of the warps. All threads
// of the block call it.
STROBE_DEVICE uint64_t sum_to_last_thread(uint64_t x, Shared& shared) {
  x = sum_to_last_lane(x);
  if (lane_of_thread() == 0) shared.warp[warp_of_thread()] = x;
  __syncthreads();
#pragma unroll
  for (int warp = 1; warp < kWarps; ++warp)
    if (warp > warp_of_thread()) x += shared.warp[warp];
  return x;
}

// The sum of x over the threads before this one, and over all. All threads of the block call it.
STROBE_DEVICE uint64_t sum_before(uint64_t x, Shared& shared, uint64_t& all) {
  uint64_t to_here = x;
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const uint64_t less = up(to_here, distance);
    if (lane_of_thread() >= distance) to_here += less;
  }
  __syncthreads();  // nobody looks at shared.warp any more
  if (lane_of_thread() == 31) shared.warp[warp_of_thread()] = to_here;
  __syncthreads();
  uint64_t before = to_here - x;
  all = 0;
#pragma unroll 2
  for (int warp = 0; warp < kWarps; ++warp) {
    if (warp < warp_of_thread()) before += shared.warp[warp];
    all += shared.warp[warp];
  }
  return before;
}
STROBE_DEVICE uint64_t sum_of_block(uint64_t x, Shared& shared) {
  uint64_t all;
  sum_before(x, shared, all);
  return all;
}

// The sum of x over the warp, in all lanes; x < 2^51.
STROBE_DEVICE uint64_t sum_of_lanes(uint64_t x) {
  const uint32_t low = sum_of_warp(static_cast<uint32_t>(x) & 0xffffffu);
  return low + (static_cast<uint64_t>(sum_of_warp(static_cast<uint32_t>(x >> 24))) << 24);
}

STROBE_DEVICE uint64_t sum_of_warps(const Shared& shared) {
  uint64_t sum = 0;
#pragma unroll
  for (int warp = 0; warp < kWarps; ++warp) sum += shared.warp[warp];
  return sum;
}

}  // namespace strobe::kernel
