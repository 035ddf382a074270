// A guess of where the threshold of a row lies, from 8192 tokens that are taken evenly from it.
//
// Every block of the cluster makes the same guess from the same tokens. Their histogram says how many tokens,
// or how much weight, should lie above or below each of 2048 values, and how far that may be off (kSurety
// standard deviations); between the outermost values that the threshold may have lies the window. A wrong
// guess costs time: it is noticed, since the survey counts exactly what is above the window.
#pragma once

#include "sampling/shared.cuh"

namespace strobe::kernel {

constexpr int kThreadSample = 16, kSampleVectors = kThreadSample / kVector;
constexpr int kSampleSize = kThreads * kThreadSample;
constexpr float kSurety = 4;

struct Sample {
  float x[kThreadSample];

  STROBE_DEVICE explicit Sample(const Columns& columns) {
    constexpr uint32_t kVectors = kThreads * kSampleVectors;
    const auto all = static_cast<uint64_t>(columns.size() / kVector);
    ColumnVector vectors[kSampleVectors];
#pragma unroll
    for (int i = 0; i < kSampleVectors; ++i) {
      const auto at = static_cast<int>(all * (i * kThreads + threadIdx.x) / kVectors);
      load(vectors[i], columns.address(at * kVector));
    }
#pragma unroll
    for (int i = 0; i < kSampleVectors; ++i) {
      float values[kVector];
      unpack(vectors[i], values);
#pragma unroll
      for (int j = 0; j < kVector; ++j) x[i * kVector + j] = values[j];
    }
  }
};

// The largest of a number over the block, of which the warps put theirs into `warps`.
STROBE_DEVICE uint32_t max_of_block(uint32_t x, uint32_t (&warps)[kWarps]) {
  x = max_of_warp(x);
  if (lane_of_thread() == 0) warps[warp_of_thread()] = x;
  __syncthreads();
#pragma unroll
  for (int warp = 0; warp < kWarps; ++warp) x = max(x, warps[warp]);
  return x;
}

// Bins of the sample's values: of probabilities up to 40 octaves, evenly in their bits; of logits as many of
// their exponentials, or all between the largest and the smallest, evenly.
class SampleBins {
 public:
  STROBE_DEVICE SampleBins(const Sample& sample, Shared& shared, float most_range) {
    uint32_t largest = 0, least = 0;  // the complement of the smallest
#pragma unroll
    for (float x : sample.x) {
      const uint32_t key = bounded_key(x);
      largest = max(largest, key);
      if (!kLogits || x > -infinity()) least = max(least, ~key);
    }
    largest = max_of_block(largest, shared.warp_first);
    const uint32_t smallest = ~max_of_block(least, shared.warp_last);
    if constexpr (kLogits) {
      top_ = logit_of_key(largest);
      const float range = fminf(top_ - logit_of_key(smallest), most_range);
      scale_ = range > 0 && range < infinity() ? static_cast<float>(kBins) / range : 0.0f;
    } else {
      constexpr uint32_t kMost = kOctaves << 23;
      bottom_ = largest > kMost ? max(smallest, largest - kMost) : smallest;
      while ((largest - bottom_) >> shift_ >= static_cast<uint32_t>(kBins)) ++shift_;
    }
  }

  static constexpr int kOctaves = 40;

  STROBE_DEVICE int of(float x) const {
    if constexpr (kLogits)
      return kBins - 1 - static_cast<int>(fminf((top_ - x) * scale_, static_cast<float>(kBins - 1)));
    const uint32_t key = bounded_key(x);
    return key > bottom_ ? static_cast<int>((key - bottom_) >> shift_) : 0;
  }
  // The lower edge.
  STROBE_DEVICE float edge(int bin) const {
    if constexpr (kLogits) return top_ - static_cast<float>(kBins - bin) / scale_;
    return float_at(bottom_ + (static_cast<uint32_t>(bin) << shift_));
  }
  STROBE_DEVICE float middle(int bin) const {
    if constexpr (kLogits) return top_ - (static_cast<float>(kBins - bin) - 0.5f) / scale_;
    return float_at(bottom_ + (static_cast<uint32_t>(bin) << shift_) + (1u << shift_) / 2);
  }
  // A window from a bin on.
  STROBE_DEVICE Window from(int bin) const {
    Window window;
    if (bin > 0 && edge(bin) > window.low) {
      const float low = kLogits ? edge(bin) : float_at(word_of(edge(bin)) - 1);
      window.floor = !(low > window.low);
      window.low = low;
    }
    return window;
  }

 private:
  static STROBE_DEVICE uint32_t bounded_key(float x) {
    return kLogits ? key_of_logit(x) : min(key_of_prob(x), word_of(kLargestProbability));
  }
  uint32_t bottom_ = 0;
  int shift_ = 0;
  float top_ = 0, scale_ = 0;
};

constexpr int kOwnBins = kBins / kThreads;  // consecutive ones, of each thread

// The window that has no upper end and should have at least `wanted` tokens; shared.low has how many of the
// sample each bin has.
STROBE_DEVICE Window guess_by_count(const Columns& columns, const SampleBins& bins, Shared& shared,
                                    int wanted) {
  const int first = static_cast<int>(threadIdx.x) * kOwnBins;
  uint32_t own = 0;
#pragma unroll
  for (int i = 0; i < kOwnBins; ++i) own += shared.low[first + i];
  uint64_t all;
  const uint64_t before = sum_before(own, shared, all);
  // Of n tokens above a value, n * share are in the sample, give or take the root of that.
  const float expected =
      static_cast<float>(wanted) * static_cast<float>(kSampleSize) / static_cast<float>(columns.size());
  const float most = expected + kSurety * kSurety / 2 + kSurety * sqrtf(expected + kSurety * kSurety / 4);
  const auto rank = static_cast<uint64_t>(fminf(most, static_cast<float>(kSampleSize - 1))) + 1;
  uint64_t above = all - before - own;
  if (above < rank && above + own >= rank) {
    int bin = first + kOwnBins;
    while (above < rank) above += shared.low[--bin];
    shared.found = static_cast<uint32_t>(bin);
  }
  __syncthreads();
  return bins.from(static_cast<int>(shared.found));
}

STROBE_DEVICE float up(float x, int distance) {
  return float_at(__shfl_up_sync(0xffffffff, word_of(x), distance));
}

// The window in which the value lies below which there is `dropped` weight.
STROBE_DEVICE Window guess_by_weight(const Columns& columns, const SampleBins& bins, Shared& shared,
                                     float dropped) {
  const int first = static_cast<int>(threadIdx.x) * kOwnBins;
  const float step = static_cast<float>(columns.size()) / static_cast<float>(kSampleSize);
  float weight[kOwnBins], count[kOwnBins], mass = 0, variance = 0;
#pragma unroll
  for (int i = 0; i < kOwnBins; ++i) {
    weight[i] = shared.row.value(bins.middle(first + i)) * step;
    count[i] = static_cast<float>(shared.low[first + i]);
    mass += count[i] * weight[i];
    variance += count[i] * weight[i] * weight[i];
  }
  float below = mass, spread = variance;  // to this thread
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const float more = up(below, distance), wider = up(spread, distance);
    if (lane_of_thread() >= distance) {
      below += more;
      spread += wider;
    }
  }
  if (lane_of_thread() == 31) {
    shared.warp_mass[warp_of_thread()] = below;
    shared.warp_variance[warp_of_thread()] = spread;
  }
  __syncthreads();
  below -= mass;
  spread -= variance;
  for (int warp = 0; warp < warp_of_thread(); ++warp) {
    below += shared.warp_mass[warp];
    spread += shared.warp_variance[warp];
  }
  // The highest bin below which there is too little, and the lowest one below which there is enough.
  uint32_t low = 0, high = 0;
#pragma unroll
  for (int i = 0; i < kOwnBins; ++i) {
    const float error = kSurety * sqrtf(fmaxf(spread, 0.0f) + weight[i] * weight[i]);
    if (below + error < dropped) low = static_cast<uint32_t>(first + i) + 1;
    if (high == 0 && below - error > dropped) high = static_cast<uint32_t>(kBins - first - i);
    below += count[i] * weight[i];
    spread += count[i] * weight[i] * weight[i];
  }
  low = max_of_block(low, shared.warp_first);
  high = max_of_block(high, shared.warp_last);
  Window window = bins.from(static_cast<int>(low) - 1);
  if (high > 0) window.high = bins.edge(kBins - static_cast<int>(high));
  return window;
}

// By count, for top_k; else by weight, of which `mass` is about all.
STROBE_DEVICE Window guess(const Columns& columns, Shared& shared, bool by_weight, float mass) {
  const Sample sample(columns);
  const SampleBins bins(sample, shared,
                        kLogits && by_weight ? SampleBins::kOctaves / shared.row.factor : infinity());
  for (int bin = static_cast<int>(threadIdx.x); bin < kBins; bin += kThreads) shared.low[bin] = 0;
  __syncthreads();
#pragma unroll
  for (float x : sample.x) count_shared(&shared.low[bins.of(x)]);
  __syncthreads();
  return by_weight ? guess_by_weight(columns, bins, shared, (1 - shared.row.top_p) * mass)
                   : guess_by_count(columns, bins, shared, shared.row.top_k);
}

}  // namespace strobe::kernel
