// The threshold of a row: the largest value v for which as many tokens, or tokens of as much weight, have
// values >= v.
//
// Some tokens, taken evenly from the row, say about where it lies. One pass adds up what is above that place
// and collects the tokens around it, which are narrowed down in the same way, and in the end by histograms of
// their keys. When the guess was wrong, or too many tokens lie around it, the sums say on which side to go
// on. Of top_p alone this is the only pass over the row: it leaves sums and collected tokens for every block.
//
// 16 rows of 128,256 f32, cold, 2 threads: 0.35 ms; with a pass for the sums of blocks, histograms of the
// whole list and weights by conversions to integers it was 0.93. DRAM gives the rows in 0.10.
#pragma once

#include "cpu/sampling_row.h"

namespace strobe::cpu::STROBE_ISA {

// A row of T, whose values are themselves or, of logits, the exponentials. Values above what a good row may
// have are cut there, so that sums of a bad row are sums, too.
template <class T, bool kLogits>
struct TokenRow {
  typedef TokenRow<float, kLogits> List;  // of collected tokens
  // Far beyond a page, where the processor's own prefetching ends: a cold row takes a quarter less time.
  static constexpr int64_t kAhead = 2048;
  static constexpr bool kIsLogits = kLogits;

  const T* x;
  int64_t size;
  float largest = 0, factor = 0;

  __attribute__((always_inline)) F32 value(F32 x) const {
    if constexpr (kLogits)
      return exponential(x, largest, factor);
    else
      return min(splat(kernel::kLargestProbability), x);
  }
  static uint32_t key_of(float x) { return kLogits ? key_of_logit(x) : bits(x + 0.0f); }
  static float from_key(uint32_t key) { return kLogits ? logit_of_key(key) : from_bits(key); }
  // Keys of all tokens of good rows lie in [kFirstKey, kEndKey).
  static constexpr uint32_t kFirstKey = kLogits ? 0x007fffff : 0;
  static constexpr uint32_t kEndKey = kLogits ? 0xff800000 : 0x7f800000;

  // Calls f(x, present) for the vectors of [begin, end).
  template <class F>
  __attribute__((always_inline)) void for_each(int64_t begin, int64_t end, F f) const {
    int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      prefetch(x + i + kAhead);
      f(load(x + i), all_lanes());
    }
    if (i < end) f(load_n(x + i, static_cast<int>(end - i)), lanes_before(static_cast<int>(end - i)));
  }
};

// The tokens that filters have left so far.
struct Kept {
  float threshold;  // of x
  float least = 0;  // of values; 0: no limit

  template <class Row>
  __attribute__((always_inline)) Lanes among(const Row& row, F32 x, Lanes lanes) const {
    const Lanes above = at_least(x, splat(threshold), lanes);
    return least == 0 ? above : at_least(row.value(x), splat(least), above);
  }
};

inline constexpr int64_t kMostCollected = 32768;
// A block is collected to its end, and `compress` writes whole vectors.
inline constexpr int64_t kListRoom = kMostCollected + kBlock + kLanes;

// Of the eligible tokens: all, those of x >= low and of x >= high (their number or weight); those between are
// in the list, unless they are too many.
struct Measure {
  uint64_t all = 0, from_low = 0, from_high = 0;
  int64_t collected = 0;
  bool good = true;  // of probabilities: none is bad (or -0)
  bool complete() const { return collected <= kMostCollected; }
};

// What a pass has found of each block of tokens.
struct Blocks {
  static constexpr int64_t kMost = (int64_t{1} << 22) / kBlock;
  uint64_t weights[kMost];   // of those of x >= high
  int32_t collected[kMost];  // up to its end
  bool in_list = false;      // whether all between are in the list, and no token is bad
};

STROBE_INLINE void add_to(WeightSum& sum, const Weights& weights, Lanes counted) {
  sum.add(weights, counted);
}
STROBE_INLINE void add_to(LaneCount& sum, const Weights&, Lanes counted) { sum.add(counted); }
template <bool kWeight>
struct SumOf {
  typedef LaneCount Type;
};
template <>
struct SumOf<true> {
  typedef WeightSum Type;
};

// Row and Kept by value: what the list is written to is neither's.
template <bool kWeight, class Row>
static __attribute__((noinline)) Measure measure(const Row row, const Kept eligible, float low, float high,
                                                 float* list, Blocks* blocks) {
  Measure sums;
  int64_t collected = 0;
  U32 largest = {};
  for (int64_t begin = 0; begin < row.size; begin += kBlock) {
    const int64_t end = begin + kBlock < row.size ? begin + kBlock : row.size;
    const int64_t step = collected <= kMostCollected ? -1 : 0;
    typename SumOf<kWeight>::Type all, from_low, from_high;
    row.for_each(
        begin, end, [&](F32 x, Lanes present) __attribute__((always_inline)) {
          if constexpr (!Row::kIsLogits) largest = larger(largest, bits(x));
          Weights w = {};
          if constexpr (kWeight) w = weights_of(row.value(x));
          const Lanes counted = eligible.among(row, x, present);
          add_to(all, w, counted);
          const Lanes is_low = at_least(x, splat(low), counted);
          if (!any(is_low)) return;
          add_to(from_low, w, is_low);
          add_to(from_high, w, at_least(x, splat(high), counted));
          const Lanes between = below(x, splat(high), is_low);
          compress(list + collected, x, between);
          collected += count(between) & step;
        });
    const uint64_t above = from_high.total();
    sums.all += all.total();
    sums.from_low += from_low.total();
    sums.from_high += above;
    if (blocks != nullptr) {
      blocks->weights[begin / kBlock] = above;
      blocks->collected[begin / kBlock] = static_cast<int32_t>(collected);
    }
  }
  sums.collected = collected;
  sums.good = reduce_max(largest) <= bits(kernel::kLargestProbability);
  return sums;
}

inline constexpr int kBinBits = 11, kBins = 1 << kBinBits;
inline constexpr int64_t kShortRow = 2048;  // of which all tokens are collected at once

struct Keys {
  uint32_t low, high;  // [low, high)

  uint32_t count() const { return high - low; }
  // By how many bits a key's distance from `low` is shifted to be one of 2^bits bins.
  int shift_to(int bits) const {
    const int width = 32 - __builtin_clz(count() - 1);
    return width > bits ? width - bits : 0;
  }
};

// Of the values in the list, whose keys lie in `keys`, the largest that with all above it reaches `wanted`.
template <bool kWeight, class Row>
static __attribute__((noinline)) float narrow_down(const Row& row, float* list, int64_t count, Keys keys,
                                                   uint64_t wanted) {
  for (uint64_t above = 0;;) {
    if (keys.count() == 1) return Row::from_key(keys.low);
    const int bits = count > kShortRow / 2 ? kBinBits : 7, shift = keys.shift_to(bits);
    uint64_t bins[kBins];
    for (int bin = 0; bin < 1 << bits; ++bin) bins[bin] = 0;
    for (int64_t i = 0; i < count; i += kLanes) {
      const int lanes = count - i < kLanes ? static_cast<int>(count - i) : kLanes;
      const F32 x = load_n(list + i, lanes);
      Weights w = {};
      if constexpr (kWeight) w = weights_of(row.value(x));
      for (int lane = 0; lane < lanes; ++lane)
        bins[(Row::key_of(x[lane]) - keys.low) >> shift] += kWeight ? weight_of_lane(w, lane) : 1;
    }
    uint32_t bin = (1u << bits) - 1;
    while (above + bins[bin] < wanted) above += bins[bin--];
    keys.low += bin << shift;
    if (keys.count() > 1u << shift) keys.high = keys.low + (1u << shift);
    int64_t left = 0;
    for (int64_t i = 0; i < count; ++i) {
      const float x = list[i];
      list[left] = x;
      left += Row::key_of(x) >= keys.low && Row::key_of(x) < keys.high;
    }
    count = left;
  }
}

// From about 1024 tokens: keys between which the threshold should lie. `share` is the wanted part of all
// eligible tokens, by number or weight.
template <bool kWeight, class Row>
static __attribute__((noinline)) Keys guess(const Row& row, const Kept& eligible, float share, Keys keys) {
  constexpr int kChunks = 64, kChunk = 16;
  const int shift = keys.shift_to(kBinBits);
  uint32_t counts[kBins] = {};
  double amounts[kBins] = {}, all = 0;
  const int64_t stride = row.size / kChunks;
  for (int chunk = 0; chunk < kChunks; ++chunk) prefetch(row.x + chunk * stride);
  int lowest = kBins, highest = 0;
  for (int chunk = 0; chunk < kChunks; ++chunk)
    for (int64_t i = chunk * stride; i < chunk * stride + kChunk && i < row.size; i += kLanes) {
      const F32 x = load_n(row.x + i, row.size - i < kLanes ? static_cast<int>(row.size - i) : kLanes);
      const F32 value = row.value(x);
      const Lanes counted = eligible.among(row, x, all_lanes());
      for (int lane = 0; lane < kLanes && i + lane < row.size; ++lane) {
        if (!has(counted, lane)) continue;
        const int bin = static_cast<int>((Row::key_of(x[lane]) - keys.low) >> shift);
        const double amount = kWeight ? static_cast<double>(value[lane]) : 1;
        lowest = bin < lowest ? bin : lowest;
        highest = bin > highest ? bin : highest;
        ++counts[bin];
        amounts[bin] += amount;
        all += amount;
      }
    }
  int bin = highest + 1;
  int64_t rank = 0;
  for (double sum = 0; bin > lowest && sum < static_cast<double>(share) * all;) {
    sum += amounts[--bin];
    rank += counts[bin];
  }
  const auto margin = static_cast<int64_t>(8 + 2 * __builtin_sqrtf(static_cast<float>(rank)));
  const int64_t first = rank - (bin <= highest ? counts[bin] : 0) - margin, last = rank + margin;
  int high = highest + 1, low = highest + 1;
  int64_t above_high = 0, above_low = 0;
  while (high > lowest && above_high + counts[high - 1] <= first) above_high += counts[--high];
  while (low > lowest && above_low < last) above_low += counts[--low];
  if (above_low < last) low = 0;
  const uint64_t high_key = keys.low + (static_cast<uint64_t>(high) << shift);
  return {keys.low + (static_cast<uint32_t>(low) << shift),
          high_key < keys.high && first > 0 ? static_cast<uint32_t>(high_key) : keys.high};
}

// Keys that the threshold's is among, and the eligible tokens that have them: all of those are in the list,
// unless the key is known.
struct Bracket {
  Keys keys;
  uint64_t wanted = 0;  // of these tokens
  uint64_t amount = 0;  // that they have
  int64_t collected = 0;
  bool good = true;    // as in Measure
  bool enough = true;  // tokens are eligible
};

template <bool kWeight, class Row, class Wanted>
STROBE_INLINE Bracket bracket(const Row& row, const Kept& eligible, float share, Keys keys, float* list,
                              Blocks* blocks, Wanted wanted_of) {
  bool guessed = row.size > kShortRow;
  Keys next = guessed ? guess<kWeight>(row, eligible, share, keys) : keys;
  for (;;) {
    const Measure sums =
        measure<kWeight>(row, eligible, Row::from_key(next.low), Row::from_key(next.high), list, blocks);
    const uint64_t wanted = wanted_of(sums.all);
    if (sums.all < wanted) return {.keys = keys, .enough = false};
    if (sums.from_high >= wanted) {
      keys.low = next.high;
    } else if (sums.from_low < wanted) {
      keys.high = next.low;
    } else {
      keys = next;
      if (sums.complete())
        return {keys, wanted - sums.from_high, sums.from_low - sums.from_high, sums.collected, sums.good};
      guessed = false;
    }
    if (keys.count() == 1) return {.keys = keys};
    // All that are left may be few enough; else the upper or the lower half.
    next = {guessed ? keys.low : keys.low + keys.count() / 2, keys.high};
    guessed = false;
  }
}

// The threshold of the eligible tokens; that of `eligible` when there are not enough. `wanted_of` makes the
// wanted amount of all. `lists` has room for two; the tokens in the first, and `blocks`, stay as the last
// pass over the row has left them.
template <bool kWeight, class Row, class Wanted>
STROBE_INLINE float threshold_of(const Row& row, const Kept& eligible, float share, float* lists,
                                 Blocks* blocks, Wanted wanted_of) {
  Bracket around =
      bracket<kWeight>(row, eligible, share, {Row::kFirstKey, Row::kEndKey}, lists, blocks, wanted_of);
  if (!around.enough) return eligible.threshold;
  if (around.keys.count() == 1) return Row::from_key(around.keys.low);
  if (blocks != nullptr) blocks->in_list = around.good;
  float* const list = lists + kListRoom;
  if (around.collected > kShortRow) {
    const typename Row::List collected{lists, around.collected, row.largest, row.factor};
    const uint64_t wanted = around.wanted;
    const float share_of_list = static_cast<float>(wanted) / static_cast<float>(around.amount);
    around = bracket<kWeight>(collected, Kept{.threshold = Row::from_key(around.keys.low)}, share_of_list,
                              around.keys, list, nullptr, [=](uint64_t) { return wanted; });
  } else {
    for (int64_t i = 0; i < around.collected; i += kLanes) store(list + i, load(lists + i));
  }
  return narrow_down<kWeight>(row, list, around.collected, around.keys, around.wanted);
}

}  // namespace strobe::cpu::STROBE_ISA
