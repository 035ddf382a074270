// The threshold of a row: the largest key for which as many tokens, or tokens of as much weight, have it or a
// larger one.
//
// A round looks at up to 11 bits of the keys that are still undecided (those that begin with `prefix`): every
// block adds its tokens to a histogram in shared memory; block r of the cluster then adds up part r of the
// bins over all blocks and makes a running sum from the largest bin down; the block in whose part the wanted
// amount is reached tells the others the bin. Keys of 32 bits take three rounds, those of bf16 two.
#pragma once

#include "ptx/atomic.h"
#include "ptx/cluster.h"
#include "sampling/columns.cuh"
#include "sampling/weight.h"

namespace strobe::kernel {

constexpr int kRoundBits = 11, kBins = 1 << kRoundBits;
constexpr int kBlockBins = kBins / kCluster;
constexpr int kSumThreads = kBlockBins < kThreads ? kBlockBins : kThreads;
constexpr int kThreadBins = kBlockBins / kSumThreads;
// Bits that are 0 in every key.
constexpr int kZeroBits = kInput == Dtype::kF32 ? 0 : kInput == Dtype::kF16 ? 13 : 16;
constexpr int kKeyBits = (kSource == TokenSource::kLogits ? 32 : 31) - kZeroBits;

// What the other blocks of the cluster read.
struct Published {
  uint64_t part;   // of a histogram
  uint64_t above;  // what lies above the bin that was found,
  uint32_t found;  // and the bin
  float largest;
  uint64_t weight;  // of the block's kept tokens
  uint32_t bad;     // whether any token of the block is bad
};

struct alignas(16) Shared {
  uint32_t low[kBins], high[kBins];  // words of the bins
  uint64_t warp[kWarps];
  float warp_largest[kWarps];
  uint64_t random;
  Published published;
};

STROBE_DEVICE void wait_for_all() {
  if constexpr (kCluster > 1)
    wait_for_cluster();
  else
    __syncthreads();
}

template <class T>
STROBE_DEVICE T of_block(const T& shared, uint32_t rank) {
  if constexpr (kCluster > 1)
    return load_of_rank(&shared, rank);
  else
    return shared;
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

// The sum of x over the threads from this one to the last. All threads of the block call it.
STROBE_DEVICE uint64_t sum_to_last_thread(uint64_t x, Shared& shared) {
  x = sum_to_last_lane(x);
  if (lane_of_thread() == 0) shared.warp[warp_of_thread()] = x;
  __syncthreads();
#pragma unroll
  for (int warp = 1; warp < kWarps; ++warp)
    if (warp > warp_of_thread()) x += shared.warp[warp];
  return x;
}

class Selection {
 public:
  uint32_t threshold = 0;  // tokens with keys >= it are kept

  // Lowers the number of tokens that can be kept to those of the `wanted` largest keys among the tokens that
  // `eligible(column, value)` lets through, and their ties.
  template <class Eligible>
  STROBE_DEVICE void keep_count(const Columns& columns, Shared& shared, uint64_t wanted, Eligible eligible) {
    keep(
        columns, shared, eligible, [](float) { return uint64_t{1}; }, [=](uint64_t) { return wanted; });
  }

  // The same by weight: those of the largest keys that have `top_p` of all eligible weight.
  template <class Eligible, class Weight>
  STROBE_DEVICE void keep_weight(const Columns& columns, Shared& shared, float top_p, Eligible eligible,
                                 Weight weight) {
    keep(columns, shared, eligible, weight, [=](uint64_t all) { return least_weight(top_p, all); });
  }

 private:
  template <class Eligible, class Amount, class Wanted>
  STROBE_DEVICE void keep(const Columns& columns, Shared& shared, Eligible eligible, Amount amount,
                          Wanted wanted_of) {
    uint32_t prefix = 0;
    uint64_t above = 0, wanted = 0;
#pragma unroll 1
    for (int shift = kKeyBits; shift > 0;) {
      const int bits = shift < kRoundBits ? shift : kRoundBits, low = shift - bits;
      for (int bin = static_cast<int>(threadIdx.x); bin < kBins; bin += kThreads)
        shared.low[bin] = shared.high[bin] = 0;
      __syncthreads();
      columns.for_each([&](int, int, const float(&values)[kVector]) {
#pragma unroll
        for (int i = 0; i < kVector; ++i) {
          const uint32_t key = key_of(values[i]) >> kZeroBits;
          if (shift < kKeyBits && key >> shift != prefix) continue;
          if (eligible(values[i])) add(shared, key >> low & ((1u << bits) - 1), amount(values[i]));
        }
      });
      wait_for_all();
      uint64_t bin_sum[kThreadBins], all = 0;
      const uint64_t own = sum_of_bins(shared, bin_sum);
      const uint64_t to_last = sum_to_last_thread(own, shared);
      if (threadIdx.x == 0) shared.published.part = to_last;
      wait_for_all();
      // Parts of larger ranks have larger keys.
      uint64_t of_larger = 0;
      for (uint32_t rank = 0; rank < kCluster; ++rank) {
        const uint64_t part = of_block(shared.published.part, rank);
        all += part;
        if (rank > cluster_rank()) of_larger += part;
      }
      if (shift == kKeyBits) wanted = wanted_of(all);
      if (above + all < wanted) return;  // in the first round, if at all
      publish(shared, bin_sum, above + of_larger + to_last - own, wanted);
      wait_for_all();
      for (uint32_t rank = 0; rank < kCluster; ++rank) {
        const uint32_t found = of_block(shared.published.found, rank);
        if (found == kNothing) continue;
        above = of_block(shared.published.above, rank);
        prefix = prefix << bits | found;
      }
      shift = low;
    }
    const uint32_t least = prefix << kZeroBits;
    threshold = least > threshold ? least : threshold;
  }

  static constexpr uint32_t kNothing = 0xffffffff;

  static STROBE_DEVICE uint32_t key_of(float value) {
    return kSource == TokenSource::kLogits ? key_of_logit(value) : key_of_prob(value);
  }

  static STROBE_DEVICE void add(Shared& shared, uint32_t bin, uint64_t amount) {
    const auto low = static_cast<uint32_t>(amount);
    if (amount == 0) return;
    const uint32_t before = add_shared(&shared.low[bin], low);
    const uint32_t high = static_cast<uint32_t>(amount >> 32) + (before + low < low ? 1 : 0);
    if (high != 0) add_shared(&shared.high[bin], high);
  }

  // Of this thread's bins, over the cluster.
  static STROBE_DEVICE uint64_t sum_of_bins(const Shared& shared, uint64_t (&sum)[kThreadBins]) {
    uint64_t all = 0;
#pragma unroll
    for (int i = 0; i < kThreadBins; ++i) {
      sum[i] = 0;
      if (threadIdx.x >= kSumThreads) continue;
      const int bin = first_bin() + i;
      for (uint32_t rank = 0; rank < kCluster; ++rank)
        sum[i] += of_block(shared.low[bin], rank) | static_cast<uint64_t>(of_block(shared.high[bin], rank))
                                                        << 32;
      all += sum[i];
    }
    return all;
  }

  // `larger` is what lies in the bins behind this thread's.
  static STROBE_DEVICE void publish(Shared& shared, const uint64_t (&sum)[kThreadBins], uint64_t larger,
                                    uint64_t wanted) {
    if (threadIdx.x == 0) shared.published.found = kNothing;
    __syncthreads();
    if (threadIdx.x >= kSumThreads) return;
#pragma unroll
    for (int i = kThreadBins - 1; i >= 0; --i) {
      if (larger < wanted && larger + sum[i] >= wanted) {
        shared.published.found = static_cast<uint32_t>(first_bin() + i);
        shared.published.above = larger;
      }
      larger += sum[i];
    }
  }

  static STROBE_DEVICE int first_bin() {
    return static_cast<int>(cluster_rank()) * kBlockBins + static_cast<int>(threadIdx.x) * kThreadBins;
  }
};

}  // namespace strobe::kernel
