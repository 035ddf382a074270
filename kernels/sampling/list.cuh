// The list of a survey, in the first block of the cluster: thresholds found in it.
#pragma once

#include "sampling/survey.cuh"

namespace strobe::kernel {

// Adds to a 64-bit bin. A sum that leaves the low word is rare: large weights are few.
STROBE_DEVICE void add_to_bin(Shared& shared, uint32_t bin, uint64_t more) {
  const auto low = static_cast<uint32_t>(more);
  const uint32_t before = add_shared(&shared.low[bin], low);
  const uint32_t carry = before + low < low ? 1 : 0, high = static_cast<uint32_t>(more >> 32) + carry;
  if (high != 0) add_shared(&shared.high[bin], high);
}
STROBE_DEVICE uint64_t bin_of(const Shared& shared, int bin) {
  return shared.low[bin] | static_cast<uint64_t>(shared.high[bin]) << 32;
}
STROBE_DEVICE void clear_bins(Shared& shared, int bins) {
  for (int bin = static_cast<int>(threadIdx.x); bin < bins; bin += kThreads)
    shared.low[bin] = shared.high[bin] = 0;
}

// What a token of a list counts for in a threshold: one, or its weight; nothing when it is not kept.
struct Amount {
  const Row& row;
  bool count, everything;

  STROBE_DEVICE uint64_t operator()(uint32_t key) const {
    const float x = value_of_key(key);
    return count ? 1 : everything || row.keeps(x) ? row.weight(x) : 0;
  }
};

class List {
 public:
  STROBE_DEVICE List(const uint64_t* entries, uint32_t size, Shared& shared)
      : entries_(entries), size_(static_cast<int>(size)), shared_(shared) {}

  STROBE_DEVICE int size() const { return size_; }

  // Calls f(key, column).
  template <class F>
  STROBE_DEVICE void for_each(F f) const {
    for (int i = static_cast<int>(threadIdx.x); i < size_; i += kThreads)
      f(static_cast<uint32_t>(entries_[i] >> 32), static_cast<int>(static_cast<uint32_t>(entries_[i])));
  }

  // Of the keys, and the sum of their amounts; beside it that of `more`, which is each thread's.
  struct Extent {
    uint32_t low, high;
    uint64_t amount, more;
  };
  STROBE_DEVICE Extent extent(const Amount& amount, uint64_t more = 0) const {
    uint32_t high = 0, least = 0;  // the complement of the smallest
    uint64_t sum = 0;
    for_each([&](uint32_t key, int) {
      high = max(high, key);
      least = max(least, ~key);
      sum += amount(key);
    });
    sum = sum_to_last_lane(sum);
    more = sum_to_last_lane(more);
    high = max_of_warp(high);
    least = max_of_warp(least);
    __syncthreads();  // nobody looks at what the warps gave before
    if (lane_of_thread() == 0) {
      shared_.warp[warp_of_thread()] = sum;
      shared_.warp_more[warp_of_thread()] = more;
      shared_.warp_first[warp_of_thread()] = high;
      shared_.warp_last[warp_of_thread()] = least;
    }
    __syncthreads();
    Extent extent{0, 0, 0, 0};
#pragma unroll kUnrollsLists ? kWarps : 2
    for (int warp = 0; warp < kWarps; ++warp) {
      extent.high = max(extent.high, shared_.warp_first[warp]);
      extent.low = max(extent.low, shared_.warp_last[warp]);
      extent.amount += shared_.warp[warp];
      extent.more += shared_.warp_more[warp];
    }
    extent.low = ~extent.low;
    return extent;
  }

  // The largest key for which `above` and the amounts of keys >= it reach `wanted`, as they all do.
  STROBE_DEVICE uint32_t key_reaching(const Extent& extent, uint64_t above, uint64_t wanted,
                                      const Amount& amount) const {
    uint32_t low = extent.low, high = extent.high;  // the key is between
#pragma unroll 1
    while (low < high) {
      int shift = 0;
      while ((high - low) >> shift >= static_cast<uint32_t>(kBins)) ++shift;
      clear_bins(shared_, kBins);
      if (threadIdx.x == 0) shared_.few = 0;
      __syncthreads();
      for_each([&](uint32_t key, int) {
        if (key >= low && key <= high) add_to_bin(shared_, (key - low) >> shift, amount(key));
      });
      __syncthreads();
      find_bin(above, wanted);
      above = shared_.above;
      low += shared_.found << shift;
      high = min(high, low + (1u << shift) - 1);
      if (shift == 0 || few_reach(low, high, above, wanted, amount)) break;
    }
    return low;
  }

 private:
  STROBE_DEVICE void find_bin(uint64_t above, uint64_t wanted) const {
    const int first = static_cast<int>(threadIdx.x) * kOwnBins;
    uint64_t own = 0, all;
#pragma unroll kUnrollsLists ? kOwnBins : 1
    for (int i = 0; i < kOwnBins; ++i) own += bin_of(shared_, first + i);
    const uint64_t before = sum_before(own, shared_, all);
    above += all - before - own;
    if (above < wanted && above + own >= wanted) {
      int bin = first + kOwnBins - 1;
      for (uint64_t more; above + (more = bin_of(shared_, bin)) < wanted; --bin) above += more;
      shared_.found = static_cast<uint32_t>(bin);
      shared_.above = above;
    }
    __syncthreads();
  }

  // With few keys in [low, high] one warp looks at all of them: `low` becomes the one that is looked for.
  STROBE_DEVICE bool few_reach(uint32_t& low, uint32_t high, uint64_t above, uint64_t wanted,
                               const Amount& amount) const {
    for_each([&](uint32_t key, int) {
      if (key < low || key > high) return;
      const uint32_t at = add_shared(&shared_.few, 1);
      if (at < kFew) {
        shared_.few_key[at] = key;
        shared_.few_amount[at] = amount(key);
      }
    });
    __syncthreads();
    const uint32_t count = shared_.few;
    __syncthreads();
    if (count > kFew) return false;
    if (warp_of_thread() == 0) {
      const bool mine = static_cast<uint32_t>(lane_of_thread()) < count;
      const uint32_t key = mine ? shared_.few_key[lane_of_thread()] : 0;
      const uint64_t own = mine ? shared_.few_amount[lane_of_thread()] : 0;
#pragma unroll 1
      for (int lane = 0; lane < static_cast<int>(count); ++lane) {
        const uint64_t more = of_lane(own, lane);
        if (__shfl_sync(0xffffffff, key, lane) >= key) above += more;
      }
      const uint32_t reaching = max_of_warp(mine && above >= wanted ? key : 0);
      if (lane_of_thread() == 0) shared_.found = reaching;
    }
    __syncthreads();
    low = shared_.found;
    return true;
  }

  const uint64_t* entries_;
  int size_;
  Shared& shared_;
};

}  // namespace strobe::kernel
