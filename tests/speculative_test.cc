#include "strobe/speculative.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "support/call_check.h"
#include "support/layouts.h"
#include "support/speculative_case.h"
#include "support/sweep.h"

namespace strobe {
namespace {

using test::ChainCase;
using test::error_message;
using test::expect_matches_reference;
using test::TreeCase;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kFloatNames[] = {"f32", "f16", "bf16"};
constexpr const char* kTrees[] = {"tree_speculative_sampling", "verify_tree_greedy"};

TEST(Speculative, ChainsMatchTheReference) {
  for (const char* dtype : kFloatNames)
    for (const char* vocab : {"1", "15", "17", "1000", "1025", "3001"})
      for (const char* ids : {"i32", "i64"})
        expect_matches_reference("chain_speculative_sampling", {{"batch_size", "9"},
                                                                {"num_draft", "3"},
                                                                {"num_outputs", "4"},
                                                                {"vocab_size", vocab},
                                                                {"dtype", dtype},
                                                                {"draft_token_ids_dtype", ids},
                                                                {"seed", "3"}});
}

TEST(Speculative, TreesMatchTheReference) {
  for (const char* ids : {"i32", "i64"})
    for (const char* steps : {"1", "3", "9"})
      for (const char* dtype : kFloatNames)
        for (const char* vocab : {"2", "17", "1025"})
          expect_matches_reference("tree_speculative_sampling", {{"batch_size", "7"},
                                                                 {"num_nodes", "11"},
                                                                 {"num_places", "80"},
                                                                 {"num_steps", steps},
                                                                 {"vocab_size", vocab},
                                                                 {"dtype", dtype},
                                                                 {"candidates_dtype", ids},
                                                                 {"offset", "9"}});
  for (const char* ids : {"i32", "i64"})
    expect_matches_reference("verify_tree_greedy", {{"batch_size", "40"},
                                                    {"num_nodes", "31"},
                                                    {"num_places", "1240"},
                                                    {"num_steps", "4"},
                                                    {"dtype", ids}});
}

TEST(Speculative, StridedProbabilitiesMatchTheReference) {
  test::expect_strided_matches_reference(
      "chain_speculative_sampling",
      {{"batch_size", "5"}, {"num_draft", "2"}, {"num_outputs", "3"}, {"vocab_size", "257"}});
  test::expect_strided_matches_reference("tree_speculative_sampling", {{"batch_size", "5"},
                                                                       {"num_nodes", "4"},
                                                                       {"num_places", "20"},
                                                                       {"num_steps", "3"},
                                                                       {"vocab_size", "257"}});
}

TEST(Speculative, ADraftLikeTheTargetIsEmittedWhole) {
  ChainCase chain(3, 2, 4);
  chain.set_probs({0.1f, 0.2f, 0.3f, 0.4f}, {0.1f, 0.2f, 0.3f, 0.4f});
  chain_speculative_sampling(chain.args());
  for (std::int64_t request = 0; request < 3; ++request) {
    EXPECT_EQ(chain.emitted[request], 2);
    EXPECT_EQ(chain.token(request, 0), chain.draft(request, 0));
    EXPECT_EQ(chain.token(request, 1), chain.draft(request, 1));
    EXPECT_GE(chain.token(request, 2), 0);
  }
}

TEST(Speculative, WhatTheTargetNeverSaysIsRefused) {
  ChainCase chain(4, 2, 4);
  chain.set_probs({0, 1, 0, 0}, {0.5f, 0, 0, 0.5f});
  chain_speculative_sampling(chain.args());
  for (std::int64_t request = 0; request < 4; ++request) {
    EXPECT_EQ(chain.emitted[request], 0);
    EXPECT_EQ(chain.accepted[request], 0);
    EXPECT_THAT(chain.token(request, 0), testing::AnyOf(0, 3));
    EXPECT_EQ(chain.token(request, 1), -1);
    EXPECT_EQ(chain.token(request, 2), -1);
  }
}

// A token behind a refused one counts as accepted when it would be by itself.
TEST(Speculative, AcceptedCountsEveryTokenByItself) {
  ChainCase chain(1, 3, 2);
  chain.set_probs({1, 0}, {1, 0});
  chain.target_row(0, 1)[0] = 0;
  chain.target_row(0, 1)[1] = 1;
  chain_speculative_sampling(chain.args());
  EXPECT_EQ(chain.emitted[0], 1);
  EXPECT_EQ(chain.accepted[0], 2);
  EXPECT_THAT(chain.output, ElementsAre(0, 1, -1, -1));
  ChainSpeculativeSamplingArgs args = chain.args();
  args.accumulate = true;
  chain_speculative_sampling(args);
  EXPECT_EQ(chain.emitted[0], 2);
  EXPECT_EQ(chain.accepted[0], 4);
}

TEST(Speculative, AShorterDraftEndsWithMinusOne) {
  ChainCase chain(1, 3, 2);
  chain.set_probs({1, 0}, {1, 0});
  chain.draft_ids = {0, -1, 1};  // what stands behind is not looked at
  chain_speculative_sampling(chain.args());
  EXPECT_THAT(chain.output, ElementsAre(0, 0, -1, -1));
  EXPECT_EQ(chain.emitted[0], 1);
  EXPECT_EQ(chain.accepted[0], 1);
}

// By rounding a target can lie below its draft everywhere but where nothing is left.
TEST(Speculative, WithNothingLeftTheTargetIsDrawnFrom) {
  ChainCase chain(64, 1, 2);
  chain.set_probs({1, 1}, {0.5f, 0.5f});
  chain_speculative_sampling(chain.args());
  int refused = 0;
  for (std::int64_t request = 0; request < 64; ++request) {
    refused += chain.emitted[request] == 0;
    EXPECT_GE(chain.token(request, 0), 0);
    EXPECT_TRUE(chain.valid[request]);
  }
  EXPECT_GT(refused, 10);
}

TEST(Speculative, BadChainsSaySo) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  for (cpu::Isa isa : test::isa_levels()) {
    const test::ScopedIsa scoped(isa);
    for (int fault = 0; fault < 5; ++fault) {
      ChainCase chain(1, 2, 20);
      std::vector<float> p(20, 0.05f);
      p[7] = 0.9f;
      chain.set_probs(p, p);
      if (fault == 0) chain.draft_ids[1] = 20;
      if (fault == 1) chain.draft_ids[1] = -2;
      if (fault == 2) chain.target_row(0, 1)[chain.draft_ids[1]] = kNan;
      if (fault == 3) chain.draft_row(0, 1)[chain.draft_ids[1]] = 3;
      if (fault == 4) chain.target_row(0, 2)[19] = -0.1f;  // of the row that is drawn from
      chain_speculative_sampling(chain.args());
      const int taken = fault == 4 ? 2 : 1;
      EXPECT_EQ(chain.emitted[0], taken) << fault;
      EXPECT_EQ(chain.token(0, taken), 0) << fault;
      EXPECT_FALSE(chain.valid[0]) << fault;
    }
  }
}

// 0 -> {1, 2}, 1 -> {3}, 2 -> {4, 5}
TreeCase small_tree() {
  TreeCase tree(1, 6, 4, 8);
  tree.child = {1, 3, 4, -1, -1, -1};
  tree.sibling = {-1, 2, -1, -1, 5, -1};
  tree.candidates = {0, 1, 2, 3, 4, 5};
  return tree;
}

TEST(Speculative, AGreedyWalkTakesWhatIsPredicted) {
  TreeCase tree = small_tree();
  tree.index = {5, 4, 3, 2, 1, 0};
  std::vector<std::int32_t> predicted = {2, 7, 5, 7, 7, 6};
  verify_tree_greedy(tree.greedy(predicted));
  EXPECT_THAT(tree.accept_index, ElementsAre(5, 3, 0, -1));
  EXPECT_EQ(tree.accepted[0], 2);
  EXPECT_THAT(tree.predicts, ElementsAre(6, -1, -1, 5, -1, 2));
  predicted[0] = 7;
  verify_tree_greedy(tree.greedy(predicted));
  EXPECT_THAT(tree.accept_index, ElementsAre(5, -1, -1, -1));
  EXPECT_EQ(tree.accepted[0], 0);
  EXPECT_EQ(tree.predicts[5], 7);
}

TEST(Speculative, ATreeWalkTakesWhatIsCertain) {
  TreeCase tree = small_tree();
  tree.set_certain(0, 2);
  tree.set_certain(2, 5);
  tree.set_certain(5, 6);
  tree_speculative_sampling(tree.args());
  EXPECT_THAT(tree.accept_index, ElementsAre(0, 2, 5, -1));
  EXPECT_THAT(tree.predicts, ElementsAre(2, -1, 5, -1, -1, 6));
  EXPECT_TRUE(tree.valid[0]);
}

TEST(Speculative, BadTreesSaySo) {
  const auto expect_bad = [](TreeCase tree, const std::string& what) {
    std::vector<std::int32_t> predicted = {7, 7, 7, 7, 7, 7};
    for (int node = 0; node < 6; ++node) tree.set_certain(node, 7);
    tree_speculative_sampling(tree.args());
    EXPECT_FALSE(tree.valid[0]) << what;
    EXPECT_EQ(tree.accepted[0], 0) << what;
    tree.valid[0] = true;
    if (what != "token") {
      verify_tree_greedy(tree.greedy(predicted));
      EXPECT_FALSE(tree.valid[0]) << what;
    }
  };
  TreeCase circle = small_tree(), far = small_tree(), below = small_tree(), place = small_tree(),
           token = small_tree();
  circle.sibling = {-1, 2, 1, -1, 5, -1};
  far.child[0] = 6;
  below.sibling[1] = -3;
  place.index[0] = 6;
  token.candidates[1] = 8;
  expect_bad(circle, "circle");
  expect_bad(far, "far");
  expect_bad(below, "below");
  expect_bad(place, "place");
  expect_bad(token, "token");
}

TEST(Speculative, AnotherSeedFailsTheCheck) {
  test::for_each_problem(
      "chain_speculative_sampling",
      {{"batch_size", "50"}, {"num_draft", "3"}, {"num_outputs", "4"}, {"vocab_size", "500"}}, 1,
      [&](op::Problem& problem, op::Random& random, const std::string& label) {
        const op::Expected expected = op::expect(*problem.op, problem.args.get(), problem.axes, 100, random);
        static_cast<ChainSpeculativeSamplingArgs*>(problem.args.get())->random.seed = 77;
        problem.run();
        EXPECT_FALSE(op::compare(*problem.op, problem.args.get(), problem.axes, expected).passed) << label;
      });
}

TEST(Speculative, NamesWhatIsWrong) {
  const Tensor draft(Dtype::kF32, {2, 3, 8}), target(Dtype::kF32, {2, 3, 8}), ids(Dtype::kI32, {2, 3}),
      out(Dtype::kI32, {2, 3});
  EXPECT_THAT(
      error_message([&] {
        chain_speculative_sampling(
            {.draft_probs = draft, .draft_token_ids = ids, .target_probs = target, .output_token_ids = out});
      }),
      HasSubstr("chain_speculative_sampling: target_probs: expected num_draft + 1 = 4 rows a request"));
  TreeCase tree = small_tree();
  std::vector<std::int32_t> few(5), predicted(6);
  VerifyTreeGreedyArgs args = tree.greedy(predicted);
  args.tree.retrieve_index = TensorView::of(few);
  EXPECT_THAT(error_message([&] { verify_tree_greedy(args); }),
              HasSubstr("verify_tree_greedy: retrieve_index: expected"));
  TreeCase large(1, 513, 2, 4);
  EXPECT_THAT(error_message([&] { tree_speculative_sampling(large.args()); }),
              HasSubstr("num_nodes: expected 1 to 512, got 513"));
  for (const char* name : kTrees) EXPECT_NE(op::registry().find(name), nullptr);
}

}  // namespace
}  // namespace strobe
