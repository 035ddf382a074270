// The threshold of a row: the largest key for which as many tokens, or tokens of as much weight, have it or a
// larger one.
//
// A round looks at up to 11 bits of the keys that are still undecided (those that begin with `prefix`): every
// block adds its tokens to a histogram in shared memory; block r of the cluster then adds up part r of the
// bins over all blocks and makes a running sum from the largest bin down; the block in whose part the wanted
// amount is reached tells the others the bin. Keys of 32 bits take three rounds, those of bf16 two.
#pragma once

#include "sampling/list.cuh"

namespace strobe::kernel {

constexpr int kBlockBins = kBins / kCluster;
constexpr int kSumThreads = kBlockBins < kThreads ? kBlockBins : kThreads;
constexpr int kThreadBins = kBlockBins / kSumThreads;
// Bits that are 0 in every key.
constexpr int kZeroBits = kInput == Dtype::kF32 ? 0 : kInput == Dtype::kF16 ? 13 : 16;

constexpr int kKeyBits = (kLogits ? 32 : 31) - kZeroBits;

// Of a bin, over the cluster.
STROBE_DEVICE uint32_t word_of_rank(const uint32_t& shared, uint32_t rank) {
  if constexpr (kCluster > 1)
    return load_of_rank(&shared, rank);
  else
    return shared;
}
STROBE_DEVICE uint64_t amount_of(const Shared& shared, int bin) {
  uint64_t sum = 0;
#pragma unroll
  for (uint32_t rank = 0; rank < kCluster; ++rank)
    sum += word_of_rank(shared.low[bin], rank) | static_cast<uint64_t>(word_of_rank(shared.high[bin], rank))
                                                     << 32;
  return sum;
}

STROBE_DEVICE int first_own_bin() {
  return static_cast<int>(cluster_rank()) * kBlockBins + static_cast<int>(threadIdx.x) * kThreadBins;
}

// Behind the histograms of all blocks: the bin in which `above` and the bins from the last one down reach
// wanted(all bins), in shared.found, and what lies above it, in shared.above. False when they do not.
template <class Wanted>
STROBE_DEVICE bool find_bin_of_cluster(Shared& shared, uint64_t above, Wanted wanted_of) {
  wait_for_all();
  uint64_t own = 0, of_block;
  if (threadIdx.x < kSumThreads)
#pragma unroll
    for (int i = 0; i < kThreadBins; ++i) own += amount_of(shared, first_own_bin() + i);
  const uint64_t before = sum_before(own, shared, of_block);
  if (threadIdx.x < kCluster) tell(shared.rank_part[cluster_rank()], threadIdx.x, of_block);
  wait_for_all();
  // Parts of larger ranks have larger keys.
  uint64_t all = 0, larger = above + of_block - before - own;
#pragma unroll
  for (uint32_t rank = 0; rank < kCluster; ++rank) {
    all += shared.rank_part[rank];
    if (rank > cluster_rank()) larger += shared.rank_part[rank];
  }
  const uint64_t wanted = wanted_of(all);
  if (above + all < wanted) return false;
  if (larger < wanted && larger + own >= wanted) {
    int bin = first_own_bin() + kThreadBins - 1;
    if constexpr (kThreadBins > 1)
      for (uint64_t sum; larger + (sum = amount_of(shared, bin)) < wanted; --bin) larger += sum;
    tell_all(shared.found, static_cast<uint32_t>(bin));
    tell_all(shared.above, larger);
  }
  wait_for_all();
  return true;
}

// The threshold of top-p (by weight) or top-k among the tokens that the filters before it keep, or, jointly,
// of the whole row; -Inf when it has fewer.
STROBE_DEVICE float threshold_of(const Columns& columns, Shared& shared, bool by_weight) {
  const Row& row = shared.row;
  uint32_t prefix = 0;
  uint64_t above = 0, wanted = static_cast<uint64_t>(row.top_k);
#pragma unroll 1
  for (int shift = kKeyBits; shift > 0;) {
    const bool first = shift == kKeyBits;
    const int bits = shift < kRoundBits ? shift : kRoundBits, low = shift - bits;
    clear_bins(shared, kBins);
    __syncthreads();
    columns.for_each_vector([&](const float(&x)[kVector]) {
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        const uint32_t key = key_of(x[i]) >> kZeroBits;
        if (!first && key >> shift != prefix) continue;
        if (!row.joint && !row.keeps(x[i])) continue;
        const uint64_t more = by_weight ? row.weight(x[i]) : 1;
        if (more != 0) add_to_bin(shared, key >> low & ((1u << bits) - 1), more);
      }
    });
    const bool found = find_bin_of_cluster(shared, above, [&](uint64_t all) {
      if (first && by_weight) wanted = least_weight(row.top_p, all);
      return wanted;
    });
    if (!found) return -infinity();  // in the first round, if at all
    above = shared.above;
    prefix = prefix << bits | shared.found;
    shift = low;
  }
  return value_of_key(prefix << kZeroBits);
}

}  // namespace strobe::kernel
