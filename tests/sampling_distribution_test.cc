// Whether draws have the distribution that they should have: Pearson's chi-square statistic of a million
// draws, whose power is stated beside each test, and negative controls for it.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "strobe/sampling.h"
#include "support/chi_square.h"

namespace strobe {
namespace {

using test::chi_square_score;

constexpr std::int64_t kDraws = 1 << 20;
constexpr int kVocab = 33;

// Zipf's law, as the frequencies of words.
std::vector<double> zipf() {
  std::vector<double> p;
  double sum = 0;
  for (int j = 0; j < kVocab; ++j) sum += 1.0 / (j + 1);
  for (int j = 0; j < kVocab; ++j) p.push_back(1.0 / ((j * 7 % kVocab) + 1) / sum);
  return p;
}

Tensor floats(const std::vector<double>& values) {
  Tensor row(Dtype::kF32, {1, kVocab});
  for (std::size_t j = 0; j < values.size(); ++j) row.as<float>()[j] = static_cast<float>(values[j]);
  return row;
}

std::vector<std::int64_t> count(const std::vector<std::int32_t>& samples) {
  std::vector<std::int64_t> counts(kVocab);
  for (std::int32_t token : samples) ++counts[static_cast<std::size_t>(token)];
  return counts;
}

std::vector<std::int64_t> draw_from_probs(const std::vector<double>& p, const TokenFilter& filter = {},
                                          std::int64_t seed = 1) {
  std::vector<std::int32_t> samples(kDraws), indices(kDraws, 0);
  sampling_from_probs({.probs = floats(p),
                       .samples = TensorView::of(samples),
                       .indices = TensorView::of(indices),
                       .filter = filter,
                       .random = {.seed = seed}});
  return count(samples);
}

std::vector<std::int64_t> draw_from_logits(const std::vector<double>& p, float temperature) {
  std::vector<double> logits;
  for (double x : p) logits.push_back(std::log(x) * static_cast<double>(temperature));
  std::vector<std::int32_t> samples(kDraws), indices(kDraws, 0);
  sampling_from_logits({.logits = floats(logits),
                        .samples = TensorView::of(samples),
                        .indices = TensorView::of(indices),
                        .temperature = temperature,
                        .random = {.seed = 5}});
  return count(samples);
}

// Every second token 1 % too likely.
std::vector<double> biased(std::vector<double> p) {
  for (std::size_t j = 0; j < p.size(); ++j) p[j] *= j % 2 == 0 ? 1.01 : 0.99;
  return p;
}

// Five standard deviations of a right sampler: one in a million would fail (the seed is fixed: none does). A
// bias of 1 % adds 2^20 * 1e-4 = 105 to the statistic, 13 standard deviations of it: it is found with a
// probability beyond 1 - 1e-9.
constexpr double kMost = 5;

TEST(SamplingDistribution, OfProbabilities) {
  for (std::int64_t seed : {1, 2})
    EXPECT_LT(chi_square_score(zipf(), draw_from_probs(zipf(), {}, seed)), kMost);
}

TEST(SamplingDistribution, ABiasOfOnePercentIsFound) {
  EXPECT_GT(chi_square_score(zipf(), draw_from_probs(biased(zipf()))), kMost);
  EXPECT_GT(chi_square_score(zipf(), draw_from_logits(biased(zipf()), 1)), kMost);
}

TEST(SamplingDistribution, OfLogits) {
  for (float temperature : {1.0f, 0.7f})
    EXPECT_LT(chi_square_score(zipf(), draw_from_logits(zipf(), temperature)), kMost);
}

// The kept tokens, in proportion, and no other: that would be the statistic's infinity.
TEST(SamplingDistribution, OfWhatFiltersKeep) {
  const std::vector<double> p = zipf();
  const auto kept = [&](double least) {
    std::vector<double> left = p;
    for (double& x : left) x = x >= least ? x : 0;
    return left;
  };
  const double largest = 1 / 4.0887;  // 1 / H(33)
  EXPECT_LT(chi_square_score(kept(largest / 10.5), draw_from_probs(p, {.top_k = 10})), kMost);
  EXPECT_LT(chi_square_score(kept(largest / 4.5), draw_from_probs(p, {.min_p = 0.25f})), kMost);
  // H(7) / H(33) = 0.634, H(6) / H(33) = 0.599
  EXPECT_LT(chi_square_score(kept(largest / 7.5), draw_from_probs(p, {.top_p = 0.62f})), kMost);
  EXPECT_EQ(chi_square_score(kept(largest / 6.5), draw_from_probs(p, {.top_p = 0.62f})), INFINITY);
}

}  // namespace
}  // namespace strobe
