// The threshold of a row: the largest value v for which as many tokens, or tokens of as much weight, have
// values >= v.
//
// Some tokens, taken evenly from the row, say about where it lies. One pass adds up what is above that place
// and collects the tokens around it; those are then narrowed down by histograms of their keys. When the
// guess was wrong, or too many tokens lie around it, the sums say on which side to go on.
#pragma once

#include "cpu/sampling_row.h"

namespace strobe::cpu::STROBE_ISA {

// A row of T, whose values are themselves or, of logits, the exponentials. Values above what a good row may
// have are cut there, so that sums of a bad row are sums, too.
template <class T, bool kLogits>
struct TokenRow {
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
    for (; i + kLanes <= end; i += kLanes) f(load(x + i), splat(-1));
    if (i < end) f(load_n(x + i, static_cast<int>(end - i)), first_lanes(static_cast<int>(end - i)));
  }
};

// The tokens that filters have left so far.
struct Kept {
  float threshold;  // of x
  float least = 0;  // of values; 0: no limit

  template <class Row>
  __attribute__((always_inline)) I32 mask(const Row& row, F32 x) const {
    const I32 above = x >= splat(threshold);
    return least == 0 ? above : above & (row.value(x) >= splat(least));
  }
};

inline constexpr int64_t kMostCollected = 32768;

// Of the eligible tokens: all, and those of x >= low and of x >= high (their number or weight); those between
// are in the list, unless they are too many.
struct Measure {
  uint64_t all = 0, from_low = 0, from_high = 0;
  int64_t collected = 0;
  bool complete() const { return collected <= kMostCollected; }
};

template <bool kWeight, class Row>
static __attribute__((noinline)) Measure measure(const Row& row, const Kept& eligible, float low, float high,
                                                 float* list) {
  Measure sums;
  for (int64_t begin = 0; begin < row.size; begin += kBlock) {
    const int64_t end = begin + kBlock < row.size ? begin + kBlock : row.size;
    WeightSum all, from_low, from_high;
    I32 counts[3] = {};
    row.for_each(
        begin, end, [&](F32 x, I32 present) __attribute__((always_inline)) {
          const I32 counted = present & eligible.mask(row, x);
          const I32 is_low = counted & (x >= splat(low)), is_high = counted & (x >= splat(high));
          if constexpr (kWeight) {
            const Weights w = weights_of(row.value(x));
            all.add(w, counted);
            from_low.add(w, is_low);
            from_high.add(w, is_high);
          } else {
            counts[0] -= counted;
            counts[1] -= is_low;
            counts[2] -= is_high;
          }
          const I32 between = is_low & ~is_high;
          if (any(between) && sums.complete()) sums.collected += compress(list + sums.collected, x, between);
        });
    if constexpr (kWeight) {
      sums.all += all.total();
      sums.from_low += from_low.total();
      sums.from_high += from_high.total();
    } else {
      for (int lane = 0; lane < kLanes; ++lane) {
        sums.all += static_cast<uint64_t>(counts[0][lane]);
        sums.from_low += static_cast<uint64_t>(counts[1][lane]);
        sums.from_high += static_cast<uint64_t>(counts[2][lane]);
      }
    }
  }
  return sums;
}

inline constexpr int kBinBits = 11, kBins = 1 << kBinBits;
inline constexpr int64_t kShortRow = 2048;  // of which all tokens are collected at once

// Of the values in the list, whose keys lie in [low, high), the largest that makes `above` reach `wanted`.
template <bool kWeight, class Row>
static __attribute__((noinline)) float narrow_down(const Row& row, float* list, int64_t count, uint32_t low,
                                                   uint32_t high, uint64_t above, uint64_t wanted) {
  for (;;) {
    const int width = high - low > 1 ? 32 - __builtin_clz(high - low - 1) : 0;
    if (width == 0) return Row::from_key(low);
    const int bits = count > kShortRow ? kBinBits : 7, shift = width > bits ? width - bits : 0;
    uint64_t bins[kBins];
    for (int bin = 0; bin < 1 << bits; ++bin) bins[bin] = 0;
    for (int64_t i = 0; i < count; i += kLanes) {
      const int lanes = count - i < kLanes ? static_cast<int>(count - i) : kLanes;
      const F32 x = load_n(list + i, lanes);
      Weights w = {};
      if constexpr (kWeight) w = weights_of(row.value(x));
      for (int lane = 0; lane < lanes; ++lane) {
        bins[(Row::key_of(x[lane]) - low) >> shift] += kWeight ? weight_of_lane(w, lane) : 1;
      }
    }
    uint32_t bin = (1u << bits) - 1;
    while (above + bins[bin] < wanted) above += bins[bin--];
    low += bin << shift;
    high = high - low < 1u << shift ? high : low + (1u << shift);
    int64_t left = 0;
    for (int64_t i = 0; i < count; ++i) {
      const float x = list[i];
      list[left] = x;
      left += Row::key_of(x) >= low && Row::key_of(x) < high;
    }
    count = left;
  }
}

struct Guess {
  uint32_t low, high;  // keys
};

// From about 1024 tokens: keys between which the threshold should lie. `share` is the wanted part of all
// eligible tokens, by number or weight.
template <bool kWeight, class Row>
static __attribute__((noinline)) Guess guess(const Row& row, const Kept& eligible, float share) {
  constexpr int kChunks = 64, kChunk = 16, kShift = 32 - kBinBits - (Row::kEndKey >> 31 ? 0 : 1);
  uint32_t counts[kBins] = {};
  double amounts[kBins] = {}, all = 0;
  const int64_t stride = row.size / kChunks;
  for (int chunk = 0; chunk < kChunks; ++chunk)
    for (int64_t i = chunk * stride; i < chunk * stride + kChunk && i < row.size; i += kLanes) {
      const F32 x = load_n(row.x + i, row.size - i < kLanes ? static_cast<int>(row.size - i) : kLanes);
      const F32 value = row.value(x);
      const I32 counted = eligible.mask(row, x);
      for (int lane = 0; lane < kLanes && i + lane < row.size; ++lane) {
        if (counted[lane] == 0) continue;
        const uint32_t bin = Row::key_of(x[lane]) >> kShift;
        const double amount = kWeight ? static_cast<double>(value[lane]) : 1;
        ++counts[bin];
        amounts[bin] += amount;
        all += amount;
      }
    }
  int bin = kBins;
  int64_t rank = 0;
  for (double sum = 0; bin > 0 && sum < static_cast<double>(share) * all;) {
    sum += amounts[--bin];
    rank += counts[bin];
  }
  const auto margin = static_cast<int64_t>(8 + 2 * __builtin_sqrtf(static_cast<float>(rank)));
  const int64_t first = rank - counts[bin < kBins ? bin : kBins - 1] - margin, last = rank + margin;
  int high = kBins, low = kBins;
  int64_t above_high = 0, above_low = 0;
  while (high > 0 && above_high + counts[high - 1] <= first) above_high += counts[--high];
  while (low > 0 && above_low < last) above_low += counts[--low];
  const uint32_t low_key = static_cast<uint32_t>(low) << kShift;
  const uint64_t high_key = static_cast<uint64_t>(high) << kShift;
  return {low_key > Row::kFirstKey ? low_key : Row::kFirstKey,
          high_key < Row::kEndKey && first > 0 ? static_cast<uint32_t>(high_key) : Row::kEndKey};
}

// The threshold of the eligible tokens; that of `eligible` when there are not enough. `wanted_of` makes the
// wanted amount of all.
template <bool kWeight, class Row, class Wanted>
STROBE_INLINE float threshold_of(const Row& row, const Kept& eligible, float share, float* list,
                                 Wanted wanted_of) {
  uint32_t low = Row::kFirstKey, high = Row::kEndKey;  // the threshold's key is in [low, high)
  uint64_t above = 0;                                  // amount of keys >= high
  bool guessed = row.size > kShortRow;
  Guess next = {low, high};
  if (guessed) next = guess<kWeight>(row, eligible, share);
  for (;;) {
    const Measure sums =
        measure<kWeight>(row, eligible, Row::from_key(next.low), Row::from_key(next.high), list);
    const uint64_t wanted = wanted_of(sums.all);
    if (sums.all < wanted) return eligible.threshold;
    if (sums.from_high >= wanted) {
      low = next.high;
    } else if (sums.from_low < wanted) {
      high = next.low;
      above = sums.from_low;
    } else {
      above = sums.from_high;
      low = next.low;
      high = next.high;
      if (sums.complete()) return narrow_down<kWeight>(row, list, sums.collected, low, high, above, wanted);
      guessed = false;
    }
    if (high - low == 1) return Row::from_key(low);
    // All that are left may be few enough; else the upper or the lower half.
    next = {guessed ? low : low + (high - low) / 2, high};
    guessed = false;
  }
}

}  // namespace strobe::cpu::STROBE_ISA
