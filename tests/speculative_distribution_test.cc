// Whether what comes out of chains and trees is distributed as the target's tokens: Pearson's chi-square
// statistic of 2^20 requests of the same probabilities. A bias of 1 % at every second token adds 2^20 * 1e-4
// = 105 to the statistic, 13 standard deviations of it or more, where 5 are allowed: it is found with a
// probability beyond 1 - 1e-9, and a right sampler fails once in a million (the seed is fixed: it does not).
#include <gtest/gtest.h>

#include <vector>

#include "support/chi_square.h"
#include "support/speculative_case.h"

namespace strobe {
namespace {

using test::chi_square_score;

constexpr std::int64_t kRequests = 1 << 20;
constexpr int kVocab = 17;
constexpr double kMost = 5;

// Zipf's law in some order.
std::vector<double> zipf(int step) {
  std::vector<double> p;
  double sum = 0;
  for (int j = 0; j < kVocab; ++j) p.push_back(1.0 / (j * step % kVocab + 1));
  for (double x : p) sum += x;
  for (double& x : p) x /= sum;
  return p;
}

std::vector<double> biased(std::vector<double> p) {
  for (std::size_t j = 0; j < p.size(); ++j) p[j] *= j % 2 == 0 ? 1.01 : 0.99;
  return p;
}

Tensor floats(const std::vector<double>& values, const std::vector<std::int64_t>& shape) {
  Tensor tensor(Dtype::kF32, shape);
  for (std::int64_t i = 0; i < tensor.view().size(); ++i)
    tensor.as<float>()[i] = static_cast<float>(values[static_cast<std::size_t>(i) % values.size()]);
  return tensor;
}

// All requests look at the same rows.
TensorView broadcast(const Tensor& rows, std::int64_t places) {
  return TensorView(rows.as<float>(), Dtype::kF32, std::vector<std::int64_t>{kRequests, places, kVocab},
                    std::vector<std::int64_t>{0, kVocab, 1});
}

std::vector<std::int64_t> count(const std::vector<std::int32_t>& tokens, std::size_t first,
                                std::size_t step) {
  std::vector<std::int64_t> counts(kVocab);
  for (std::size_t i = first; i < tokens.size(); i += step)
    if (tokens[i] >= 0) ++counts[static_cast<std::size_t>(tokens[i])];
  return counts;
}

// The tokens that come out of a draft of two, drawn from `draft`.
std::vector<std::int32_t> chain(const std::vector<double>& draft, const std::vector<double>& target) {
  const Tensor draft_rows = floats(draft, {2, kVocab}), target_rows = floats(target, {3, kVocab});
  std::vector<std::int32_t> ids(2 * kRequests), output(3 * kRequests), indices(2 * kRequests, 0);
  sampling_from_probs({.probs = floats(draft, {1, kVocab}),
                       .samples = TensorView::of(ids),
                       .indices = TensorView::of(indices),
                       .random = {.seed = 1}});
  chain_speculative_sampling({.draft_probs = broadcast(draft_rows, 2),
                              .draft_token_ids = test::matrix(ids, kRequests),
                              .target_probs = broadcast(target_rows, 3),
                              .output_token_ids = test::matrix(output, kRequests),
                              .random = {.seed = 2}});
  return output;
}

TEST(SpeculativeDistribution, OfChainsIsTheTargets) {
  const std::vector<std::int32_t> output = chain(zipf(3), zipf(5));
  for (std::size_t place = 0; place < 3; ++place)
    EXPECT_LT(chi_square_score(zipf(5), count(output, place, 3)), kMost) << place;
  // Of the second token whatever the first one was.
  std::vector<std::int32_t> behind;
  for (std::size_t i = 0; i < output.size(); i += 3)
    if (output[i] == 0) behind.push_back(output[i + 1]);
  EXPECT_LT(chi_square_score(zipf(5), count(behind, 0, 1)), kMost);
  EXPECT_GT(chi_square_score(biased(zipf(5)), count(output, 0, 3)), kMost) << "the test's power";
}

// Most tokens of a draft like its target are kept: 1 less half the distance of the two.
TEST(SpeculativeDistribution, OfAcceptedTokensIsTheOverlap) {
  const std::vector<double> draft = zipf(3), target = zipf(5);
  double overlap = 0;
  for (std::size_t j = 0; j < draft.size(); ++j) overlap += std::min(draft[j], target[j]);
  const std::vector<std::int32_t> output = chain(draft, target);
  double two = 0;
  for (std::size_t i = 1; i < output.size(); i += 3) two += output[i] >= 0;
  EXPECT_NEAR(two / kRequests, overlap, 5 * std::sqrt(overlap * (1 - overlap) / kRequests));
}

// The token behind the root of a tree with three children, one of which says what another has said.
std::vector<std::int64_t> behind_root(const std::vector<double>& target) {
  const Tensor rows = floats(target, {4, kVocab});
  std::vector<std::int32_t> candidates, index, child, sibling;
  for (std::int32_t request = 0; request < kRequests; ++request)
    for (std::int32_t node = 0; node < 4; ++node) {
      candidates.push_back(std::vector{0, 4, 9, 4}[static_cast<std::size_t>(node)]);
      index.push_back(4 * request + node);
      child.push_back(node == 0 ? 1 : -1);
      sibling.push_back(node == 1 || node == 2 ? node + 1 : -1);
    }
  std::vector<std::int32_t> predicts(4 * kRequests), accept_index(2 * kRequests), accepted(kRequests);
  tree_speculative_sampling({.tree = {.candidates = test::matrix(candidates, kRequests),
                                      .retrieve_index = test::matrix(index, kRequests),
                                      .retrieve_next_token = test::matrix(child, kRequests),
                                      .retrieve_next_sibling = test::matrix(sibling, kRequests)},
                             .target_probs = broadcast(rows, 4),
                             .result = {.predicts = TensorView::of(predicts),
                                        .accept_index = test::matrix(accept_index, kRequests),
                                        .accept_token_num = TensorView::of(accepted)},
                             .random = {.seed = 4}});
  return count(predicts, 0, 4);
}

TEST(SpeculativeDistribution, OfTreesIsTheTargets) {
  const std::vector<std::int64_t> counts = behind_root(zipf(3));
  EXPECT_LT(chi_square_score(zipf(3), counts), kMost);
  EXPECT_GT(chi_square_score(biased(zipf(3)), counts), kMost) << "the test's power";
}

}  // namespace
}  // namespace strobe
