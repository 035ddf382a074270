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

// The shared memory of a block, in front of the columns that it keeps.
struct alignas(16) Shared {
  uint32_t low[kBins], high[kBins];  // words of the bins
  uint64_t warp[kWarps];
  float warp_largest[kWarps];
  uint64_t random;
  uint32_t bad;  // threads that have seen a bad token
  // What the blocks of the cluster tell each other, by rank:
  uint32_t rank_bad[kCluster];
  uint64_t rank_part[kCluster];    // of a histogram
  uint64_t rank_weight[kCluster];  // of the kept tokens
  float rank_largest[kCluster];
  uint32_t found;  // the bin in which the wanted amount is reached,
  uint64_t above;  // and what lies above it
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

STROBE_DEVICE uint64_t sum_of_warps(const Shared& shared) {
  uint64_t sum = 0;
#pragma unroll
  for (int warp = 0; warp < kWarps; ++warp) sum += shared.warp[warp];
  return sum;
}

// Numbers in the order of the values, of kBits bits. By weight, probabilities below 2^-63 are one: they weigh
// nothing, and bins of 1/32 of an octave in the first round keep threads off each other's.
template <bool kWeight>
struct Keys {
  static constexpr bool kLogits = kSource == TokenSource::kLogits;
  static constexpr uint32_t kFirst = kWeight && !kLogits ? 64u << 23 : 0;
  static constexpr int kBits = (kLogits ? 32 : kWeight ? 29 : 31) - kZeroBits;

  static STROBE_DEVICE uint32_t of(float x) {
    if constexpr (kLogits) return key_of_logit(x) >> kZeroBits;
    const uint32_t key = key_of_prob(x);
    return (key > kFirst ? key - kFirst : 0) >> kZeroBits;
  }
  static STROBE_DEVICE float value(uint32_t key) {
    const uint32_t bits = (key << kZeroBits) + kFirst;
    return kLogits ? float_at(bits >> 31 != 0 ? bits & 0x7fffffffu : ~bits) : float_at(bits);
  }
};

class Selection {
 public:
  float threshold = -float_at(0x7f800000);  // tokens of values >= it are kept

  // Drops tokens below the `wanted`-th largest of those that `eligible(value)` lets through.
  template <class Eligible>
  STROBE_DEVICE void keep_count(const Columns& columns, Shared& shared, uint64_t wanted, Eligible eligible) {
    keep<false>(
        columns, shared, eligible, [](float) { return uint64_t{1}; }, [=](uint64_t) { return wanted; });
  }

  // Drops tokens below the largest that have `top_p` of all eligible weight.
  template <class Eligible, class Weight>
  STROBE_DEVICE void keep_weight(const Columns& columns, Shared& shared, float top_p, Eligible eligible,
                                 Weight weight) {
    keep<true>(columns, shared, eligible, weight, [=](uint64_t all) { return least_weight(top_p, all); });
  }

 private:
  template <bool kWeight, class Eligible, class Amount, class Wanted>
  STROBE_DEVICE void keep(const Columns& columns, Shared& shared, Eligible eligible, Amount amount,
                          Wanted wanted_of) {
    using Key = Keys<kWeight>;
    uint32_t prefix = 0;
    uint64_t above = 0, wanted = 0;
#pragma unroll 1
    for (int shift = Key::kBits; shift > 0;) {
      const bool first = shift == Key::kBits;
      const int bits = shift < kRoundBits ? shift : kRoundBits, low = shift - bits;
      for (int bin = static_cast<int>(threadIdx.x); bin < kBins; bin += kThreads)
        shared.low[bin] = shared.high[bin] = 0;
      __syncthreads();
      columns.for_each([&](int, int, const float(&x)[kVector]) {
        uint32_t bin[kVector];
        uint64_t more[kVector];
#pragma unroll
        for (int i = 0; i < kVector; ++i) {
          const uint32_t key = Key::of(x[i]);
          bin[i] = key >> low & ((1u << bits) - 1);
          more[i] = (first || key >> shift == prefix) && eligible(x[i]) ? amount(x[i]) : 0;
        }
        add<kWeight>(shared, bin, more);
      });
      wait_for_all();
      const uint64_t own = sum_of_bins<kWeight>(shared);
      const uint64_t to_last = sum_to_last_thread(own, shared);
      if (threadIdx.x < kCluster) tell(shared.rank_part[cluster_rank()], threadIdx.x, sum_of_warps(shared));
      wait_for_all();
      // Parts of larger ranks have larger keys.
      uint64_t all = 0, of_larger = 0;
#pragma unroll
      for (uint32_t rank = 0; rank < kCluster; ++rank) {
        all += shared.rank_part[rank];
        if (rank > cluster_rank()) of_larger += shared.rank_part[rank];
      }
      if (first) wanted = wanted_of(all);
      if (above + all < wanted) return;  // in the first round, if at all
      find_bin<kWeight>(shared, above + of_larger + to_last - own, own, wanted);
      wait_for_all();
      above = shared.above;
      prefix = prefix << bits | shared.found;
      shift = low;
    }
    threshold = fmaxf(threshold, Key::value(prefix));
  }

  // A sum that leaves the low word is rare: large weights are few.
  template <bool kWeight>
  static STROBE_DEVICE void add(Shared& shared, const uint32_t (&bin)[kVector],
                                const uint64_t (&more)[kVector]) {
    uint32_t before[kVector];
#pragma unroll
    for (int i = 0; i < kVector; ++i)
      if (more[i] != 0) before[i] = add_shared(&shared.low[bin[i]], static_cast<uint32_t>(more[i]));
    if constexpr (kWeight)
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        if (more[i] == 0) continue;
        const auto low = static_cast<uint32_t>(more[i]), high = static_cast<uint32_t>(more[i] >> 32);
        const uint32_t with_carry = high + (before[i] + low < low ? 1 : 0);
        if (with_carry != 0) add_shared(&shared.high[bin[i]], with_carry);
      }
  }

  // Of a bin, over the cluster.
  template <bool kWeight>
  static STROBE_DEVICE uint64_t sum_of_bin(const Shared& shared, int bin) {
    uint64_t sum = 0;
#pragma unroll
    for (uint32_t rank = 0; rank < kCluster; ++rank) {
      sum += of_rank(shared.low[bin], rank);
      if constexpr (kWeight) sum += static_cast<uint64_t>(of_rank(shared.high[bin], rank)) << 32;
    }
    return sum;
  }

  // Of this thread's bins.
  template <bool kWeight>
  static STROBE_DEVICE uint64_t sum_of_bins(const Shared& shared) {
    uint64_t sum = 0;
    if (threadIdx.x < kSumThreads)
#pragma unroll
      for (int i = 0; i < kThreadBins; ++i) sum += sum_of_bin<kWeight>(shared, first_bin() + i);
    return sum;
  }

  static STROBE_DEVICE uint32_t of_rank(const uint32_t& shared, uint32_t rank) {
    if constexpr (kCluster > 1)
      return load_of_rank(&shared, rank);
    else
      return shared;
  }

  // `larger` is what lies in the bins behind this thread's, `own` what lies in them. One thread of the
  // cluster finds the bin.
  template <bool kWeight>
  static STROBE_DEVICE void find_bin(Shared& shared, uint64_t larger, uint64_t own, uint64_t wanted) {
    if (larger >= wanted || larger + own < wanted) return;
    int bin = first_bin() + kThreadBins - 1;
    if constexpr (kThreadBins > 1)
      for (uint64_t sum; larger + (sum = sum_of_bin<kWeight>(shared, bin)) < wanted; --bin) larger += sum;
    tell_all(shared.found, static_cast<uint32_t>(bin));
    tell_all(shared.above, larger);
  }

  static STROBE_DEVICE int first_bin() {
    return static_cast<int>(cluster_rank()) * kBlockBins + static_cast<int>(threadIdx.x) * kThreadBins;
  }
};

}  // namespace strobe::kernel
