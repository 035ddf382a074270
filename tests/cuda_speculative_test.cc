#include <limits>
#include <vector>

#include "strobe/speculative.h"
#include "support/chi_square.h"
#include "support/gpu.h"
#include "support/speculative_case.h"

namespace strobe {
namespace {

using test::ChainCase;
using test::check_on_gpu;
using test::expect_routine_matches_on_gpu;
using test::GpuRun;
using test::Layout;
using test::TreeCase;

class CudaSpeculative : public test::GpuTest {};

// One block a row, and clusters; whole vectors, single elements.
TEST_F(CudaSpeculative, ChainsMatchTheReference) {
  for (const auto& [dtype, vocab] :
       {std::pair("f32", "1001"), {"f32", "8200"}, {"bf16", "8200"}, {"f16", "1000"}})
    expect_routine_matches_on_gpu("chain_speculative_sampling", {{"batch_size", "4"},
                                                                 {"num_draft", "3"},
                                                                 {"num_outputs", "4"},
                                                                 {"vocab_size", vocab},
                                                                 {"dtype", dtype},
                                                                 {"draft_token_ids_dtype", "i64"}});
  const test::Values strided = {
      {"batch_size", "3"}, {"num_draft", "40"}, {"num_outputs", "41"}, {"vocab_size", "64"}};
  expect_routine_matches_on_gpu("chain_speculative_sampling", strided, Layout::kStrided);
  expect_routine_matches_on_gpu("chain_speculative_sampling", strided, Layout::kDense, GpuRun{.shift = 4});
}

TEST_F(CudaSpeculative, TreesMatchTheReference) {
  for (const auto& [dtype, vocab] : {std::pair("f32", "65"), {"f32", "8200"}, {"bf16", "1000"}})
    expect_routine_matches_on_gpu("tree_speculative_sampling", {{"batch_size", "4"},
                                                                {"num_nodes", "11"},
                                                                {"num_places", "50"},
                                                                {"num_steps", "4"},
                                                                {"vocab_size", vocab},
                                                                {"dtype", dtype}});
  expect_routine_matches_on_gpu("verify_tree_greedy", {{"batch_size", "20"},
                                                       {"num_nodes", "31"},
                                                       {"num_places", "620"},
                                                       {"num_steps", "4"},
                                                       {"dtype", "i64"}});
}

// Drafts that end early, tokens and probabilities that are bad, rows of which nothing is left, sums.
TEST_F(CudaSpeculative, AwkwardChainsMatchTheReference) {
  constexpr int kRequests = 8;
  ChainCase chain(kRequests, 2, 20);
  std::vector<float> p(20, 0.05f), q(20, 0.05f);
  p[7] = 0.9f;
  q[7] = 0.7f;
  chain.set_probs(p, q);
  const auto id = [&](int request, int place) -> std::int32_t& {
    return chain.draft_ids[2 * request + place];
  };
  id(0, 1) = -1;
  id(1, 0) = 20;
  id(2, 0) = -2;
  chain.target_row(3, 0)[7] = std::numeric_limits<float>::quiet_NaN();
  chain.target_row(4, 2)[19] = -1;
  for (int j = 0; j < 20; ++j) chain.target_row(5, 0)[j] = 0;
  for (int j = 0; j < 20; ++j) chain.draft_row(6, 0)[j] = 1;
  id(7, 0) = 3;
  for (bool graph : {false, true})
    for (std::int64_t seed : {1, 2, 3}) {
      ChainSpeculativeSamplingArgs args = chain.args({.seed = seed, .offset = 5});
      args.accumulate = true;
      const op::CheckResult result = check_on_gpu("chain_speculative_sampling", args, {.graph = graph});
      EXPECT_TRUE(result.passed) << result.worst;
    }
}

TEST_F(CudaSpeculative, AwkwardTreesMatchTheReference) {
  constexpr int kRequests = 7, kNodes = 6;
  TreeCase tree(kRequests, kNodes, 4, 8);
  for (int request = 0; request < kRequests; ++request)
    for (int node = 0; node < kNodes; ++node) {
      const std::size_t at = static_cast<std::size_t>(request * kNodes + node);
      tree.child[at] = std::vector{1, 3, 4, -1, -1, -1}[static_cast<std::size_t>(node)];
      tree.sibling[at] = std::vector{-1, 2, -1, -1, 5, -1}[static_cast<std::size_t>(node)];
      tree.candidates[at] = node;
      for (int j = 0; j < 8; ++j) tree.row(request, node)[j] = j == 2 || j == 4 ? 0.26f : 0.08f;
    }
  tree.sibling[kNodes * 1 + 2] = 1;
  tree.child[kNodes * 2] = 6;
  tree.index[kNodes * 3] = -1;
  tree.candidates[kNodes * 4 + 1] = 8;
  tree.candidates[kNodes * 5 + 2] = 1;  // like its sibling
  tree.row(6, 0)[1] = std::numeric_limits<float>::infinity();
  std::vector<std::int32_t> predicted(kRequests * kNodes, 2);
  for (std::int64_t seed : {1, 2, 3, 4}) {
    const op::CheckResult sampled = check_on_gpu("tree_speculative_sampling", tree.args({.seed = seed}));
    EXPECT_TRUE(sampled.passed) << sampled.worst;
    for (std::int32_t& token : predicted) token = static_cast<std::int32_t>(seed);
    const op::CheckResult walked = check_on_gpu("verify_tree_greedy", tree.greedy(predicted));
    EXPECT_TRUE(walked.passed) << walked.worst;
  }
}

class CudaSpeculativeSlow : public test::GpuTest {};  // slow where the GPU is emulated

// A bias of 1 % at every second token adds 2^20 * 1e-4 = 105 to the statistic, 40 standard deviations of it;
// five are allowed.
TEST_F(CudaSpeculativeSlow, ChainsAreDistributedAsTheTarget) {
  constexpr std::int64_t kRequests = 1 << 20;
  std::vector<float> draft = {0.4f, 0.3f, 0.2f, 0.1f};
  ChainCase chain(kRequests, 1, 4);
  chain.set_probs(draft, {0.1f, 0.3f, 0.2f, 0.4f});
  std::vector<std::int32_t> indices(kRequests, 0);
  sampling_from_probs({.probs = test::matrix(draft, 1),
                       .samples = TensorView::of(chain.draft_ids),
                       .indices = TensorView::of(indices),
                       .random = {.seed = 8}});
  const op::CheckResult result = check_on_gpu("chain_speculative_sampling", chain.args({.seed = 9}));
  EXPECT_TRUE(result.passed) << result.worst;
  std::vector<std::int64_t> counts(4);
  for (std::int64_t request = 0; request < kRequests; ++request)
    ++counts[static_cast<std::size_t>(chain.token(request, 0))];
  EXPECT_LT(test::chi_square_score({0.1, 0.3, 0.2, 0.4}, counts), 5);
  EXPECT_GT(test::chi_square_score({0.101, 0.297, 0.202, 0.396}, counts), 5);
}

}  // namespace
}  // namespace strobe
