#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "strobe/cascade.h"
#include "support/call_check.h"
#include "support/layouts.h"
#include "support/sweep.h"

namespace strobe {
namespace {

using test::check_call;
using test::error_message;
using test::expect_in_place_matches_reference;
using test::expect_matches_reference;
using test::expect_strided_matches_reference;
using testing::HasSubstr;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr const char* kMerges[] = {"merge_state", "merge_state_in_place", "merge_states"};

Tensor random_tensor(Dtype dtype, std::initializer_list<std::int64_t> shape, std::uint64_t seed,
                     double mean = 0) {
  Tensor tensor(dtype, shape);
  op::Random random(seed);
  op::fill_normal(tensor, random, mean);
  return tensor;
}

// Two states of five tokens with three heads.
struct Pair {
  static constexpr std::int64_t kTokens = 5, kHeads = 3, kHeadDim = 40;
  Tensor v_a, s_a, v_b, s_b, v, s;
  explicit Pair(Dtype dtype = Dtype::kF32)
      : v_a(random_tensor(dtype, {kTokens, kHeads, kHeadDim}, 1)),
        s_a(random_tensor(Dtype::kF32, {kTokens, kHeads}, 2, 8)),
        v_b(random_tensor(dtype, {kTokens, kHeads, kHeadDim}, 3)),
        s_b(random_tensor(Dtype::kF32, {kTokens, kHeads}, 4, 8)),
        v(dtype, {kTokens, kHeads, kHeadDim}),
        s(Dtype::kF32, {kTokens, kHeads}) {
    op::fill_poison(v);
    op::fill_poison(s);
  }
  MergeStateArgs args() const { return {.v_a = v_a, .s_a = s_a, .v_b = v_b, .s_b = s_b, .v = v, .s = s}; }
  MergeStateInPlaceArgs in_place(const TensorView& mask = {}) const {
    return {.v = v_a, .s = s_a, .v_other = v_b, .s_other = s_b, .mask = mask};
  }
};

// Rows of at least eight elements: the tolerance is relative to their root mean square, which says nothing of
// the terms when one or two elements cancel.
TEST(Merge, MatchesTheReferenceOverDtypesAndTails) {
  for (const char* merge : kMerges)
    for (const char* dtype : {"f32", "f16", "bf16"})
      for (const char* head_dim : {"8", "9", "17", "31", "64", "80", "100", "128", "192", "257", "512"})
        expect_matches_reference(
            merge, {{"num_tokens", "4"}, {"num_heads", "3"}, {"head_dim", head_dim}, {"dtype", dtype}});
}

TEST(MergeStates, F32StatesMergeIntoAnyFloat) {
  for (const char* merged : {"f32", "f16", "bf16"})
    for (const char* head_dim : {"8", "24", "40", "128", "136"})
      expect_matches_reference("merge_states", {{"num_tokens", "4"},
                                                {"num_heads", "3"},
                                                {"head_dim", head_dim},
                                                {"dtype", "f32"},
                                                {"v_merged_dtype", merged}});
}

TEST(Merge, MatchesTheReferenceOverNumbersOfStates) {
  for (const char* num_states : {"0", "1", "2", "3", "5", "16", "17", "40"})
    for (const char* head_dim : {"20", "128"})
      expect_matches_reference("merge_states", {{"num_tokens", "3"},
                                                {"num_states", num_states},
                                                {"num_heads", "2"},
                                                {"head_dim", head_dim},
                                                {"dtype", "f32"}});
}

TEST(Merge, MatchesTheReferenceOnStridedViews) {
  for (const char* merge : kMerges)
    for (const char* num_tokens : {"1", "6"})
      for (const char* num_heads : {"1", "4"})
        expect_strided_matches_reference(
            merge, {{"num_tokens", num_tokens}, {"num_heads", num_heads}, {"head_dim", "72"}});
}

TEST(Merge, MatchesTheReferenceInPlace) {
  for (const char* dtype : {"f32", "bf16"})
    expect_in_place_matches_reference(
        "merge_state", {{"num_tokens", "5"}, {"num_heads", "2"}, {"head_dim", "136"}, {"dtype", dtype}});
}

// Enough rows for several workers.
TEST(Merge, MatchesTheReferenceOnLargeTensors) {
  for (const char* merge : kMerges)
    expect_matches_reference(merge, {{"num_tokens", "700"}, {"num_heads", "8"}, {"head_dim", "128"}});
}

TEST(Merge, MergesOnlyTheMaskedTokens) {
  for (cpu::Isa isa : test::isa_levels())
    for (Dtype dtype : {Dtype::kF32, Dtype::kBf16}) {
      const test::ScopedIsa scoped(isa);
      const Pair pair(dtype);
      const Tensor before = pair.v_a.clone();
      bool mask[2 * Pair::kTokens] = {true, true, false, true, false, true, true, true, true, false};
      const std::int64_t shape[] = {Pair::kTokens}, strides[] = {2};
      const TensorView every_other(mask, Dtype::kBool, shape, strides);  // true, false, false, true, true
      EXPECT_THAT(error_message([&] { merge_state_in_place(pair.in_place(every_other)); }),
                  HasSubstr("merge_state_in_place: mask: expected stride 1"));
      bool dense[Pair::kTokens] = {true, false, false, true, true};
      const auto result =
          check_call("merge_state_in_place", pair.in_place(TensorView(dense, Dtype::kBool, {Pair::kTokens})),
                     [](const MergeStateInPlaceArgs& args) { merge_state_in_place(args); });
      EXPECT_TRUE(result.passed) << cpu::name(isa) << ": " << result.worst;
      for (std::int64_t token = 0; token < Pair::kTokens; ++token) {
        const TensorView now = pair.v_a.view().select(0, token), was = before.view().select(0, token);
        const bool kept = std::memcmp(now.data, was.data, static_cast<std::size_t>(now.bytes())) == 0;
        EXPECT_EQ(kept, !dense[token]) << token;
      }
    }
}

TEST(Merge, EmptyStatesCountForNothing) {
  for (cpu::Isa isa : test::isa_levels()) {
    const test::ScopedIsa scoped(isa);
    const Pair pair;
    for (std::int64_t d = 0; d < Pair::kHeadDim; ++d) {
      pair.v_a.view().at<float>(0, 0, d) = kNan;  // what an empty state holds does not matter
      pair.v_b.view().at<float>(1, 1, d) = kInf;
    }
    pair.s_a.view().at<float>(0, 0) = -kInf;
    pair.s_b.view().at<float>(1, 1) = -kInf;
    pair.s_a.view().at<float>(2, 2) = pair.s_b.view().at<float>(2, 2) = -kInf;
    const auto result =
        check_call("merge_state", pair.args(), [](const MergeStateArgs& args) { merge_state(args); });
    EXPECT_TRUE(result.passed) << cpu::name(isa) << ": " << result.worst;
    for (std::int64_t d = 0; d < Pair::kHeadDim; ++d) {
      EXPECT_EQ(pair.v.view().at<float>(0, 0, d), pair.v_b.view().at<float>(0, 0, d));
      EXPECT_EQ(pair.v.view().at<float>(1, 1, d), pair.v_a.view().at<float>(1, 1, d));
      EXPECT_EQ(pair.v.view().at<float>(2, 2, d), 0.0f);
    }
    EXPECT_EQ(pair.s.view().at<float>(0, 0), pair.s_b.view().at<float>(0, 0));
    EXPECT_EQ(pair.s.view().at<float>(2, 2), -kInf);
  }
}

TEST(Merge, InfAndNanFollowTheRule) {
  for (cpu::Isa isa : test::isa_levels())
    for (float special : {kInf, kNan}) {
      const test::ScopedIsa scoped(isa);
      const Pair pair;
      pair.s_a.view().at<float>(1, 2) = special;
      pair.s_a.view().at<float>(4, 0) = pair.s_b.view().at<float>(4, 1) = special;  // beside an empty state
      pair.s_b.view().at<float>(4, 0) = pair.s_a.view().at<float>(4, 1) = -kInf;
      pair.v_b.view().at<float>(3, 0, 33) = special;
      const auto result =
          check_call("merge_state", pair.args(), [](const MergeStateArgs& args) { merge_state(args); });
      EXPECT_TRUE(result.passed) << cpu::name(isa) << ": " << result.worst;
      EXPECT_TRUE(std::isnan(pair.s.view().at<float>(1, 2)));
      EXPECT_TRUE(std::isfinite(pair.s.view().at<float>(3, 0)));
      for (std::int64_t d = 0; d < Pair::kHeadDim; ++d) {
        EXPECT_TRUE(std::isnan(pair.v.view().at<float>(1, 2, d)));
        EXPECT_TRUE(std::isnan(pair.v.view().at<float>(4, 0, d)) &&
                    std::isnan(pair.v.view().at<float>(4, 1, d)));
        EXPECT_TRUE(std::isfinite(pair.v.view().at<float>(1, 1, d)));
        EXPECT_EQ(std::isfinite(pair.v.view().at<float>(3, 0, d)), d != 33);
      }
    }
}

// Far beyond what exp2 of the values themselves could hold.
TEST(Merge, LargeLogSumExpsDoNotOverflow) {
  for (cpu::Isa isa : test::isa_levels()) {
    const test::ScopedIsa scoped(isa);
    Pair pair;
    const float lse[][2] = {{3000, 3001}, {-3000, -3002}, {5000, -5000}, {-1e30f, 1e30f}, {0, 140}};
    for (std::int64_t token = 0; token < Pair::kTokens; ++token)
      for (std::int64_t head = 0; head < Pair::kHeads; ++head) {
        pair.s_a.view().at<float>(token, head) = lse[token][0];
        pair.s_b.view().at<float>(token, head) = lse[token][1];
      }
    const auto result =
        check_call("merge_state", pair.args(), [](const MergeStateArgs& args) { merge_state(args); });
    EXPECT_TRUE(result.passed) << cpu::name(isa) << ": " << result.worst;
  }
}

// merge_states over stacked states against a chain of merge_state.
TEST(Merge, OrderOfMergingDoesNotMatter) {
  constexpr std::int64_t kStates = 6, kHeads = 2, kHeadDim = 64;
  const Tensor v = random_tensor(Dtype::kF32, {3, kStates, kHeads, kHeadDim}, 5);
  const Tensor s = random_tensor(Dtype::kF32, {3, kStates, kHeads}, 6, 8);
  Tensor v_chain(Dtype::kF32, {3, kHeads, kHeadDim}), s_chain(Dtype::kF32, {3, kHeads});
  op::fill_poison(v_chain);
  for (std::int64_t i = 0; i < 3 * kHeads; ++i) s_chain.as<float>()[i] = -kInf;
  const auto result =
      check_call("merge_states", MergeStatesArgs{.v = v, .s = s, .v_merged = v_chain, .s_merged = s_chain},
                 [&](const MergeStatesArgs&) {
                   for (std::int64_t i = kStates - 1; i >= 0; --i)
                     merge_state_in_place({.v = v_chain,
                                           .s = s_chain,
                                           .v_other = v.view().select(1, i),
                                           .s_other = s.view().select(1, i)});
                 });
  EXPECT_TRUE(result.passed) << result.worst;
}

TEST(Merge, WorksOnNoTokens) {
  Tensor v(Dtype::kF16, {0, 4, 64}), s(Dtype::kF32, {0, 4}), v_other(Dtype::kF16, {0, 4, 64}),
      s_other(Dtype::kF32, {0, 4});
  merge_state_in_place({.v = v, .s = s, .v_other = v_other, .s_other = s_other});
}

TEST(Merge, ReadsNothingBeyondARow) {
  for (cpu::Isa isa : test::isa_levels())
    for (std::int64_t head_dim : {1, 5, 19, 47, 130}) {
      const test::ScopedIsa scoped(isa);
      const auto bytes = static_cast<std::size_t>(head_dim) * 4;
      test::GuardedMemory v(bytes), s(8), v_other(bytes), s_other(8);
      const TensorView va(v.data(), Dtype::kBf16, {2, 1, head_dim}),
          vb(v_other.data(), Dtype::kBf16, {2, 1, head_dim});
      const TensorView sa(s.data(), Dtype::kF32, {2, 1}), sb(s_other.data(), Dtype::kF32, {2, 1});
      merge_state_in_place({.v = va, .s = sa, .v_other = vb, .s_other = sb});
      merge_state({.v_a = va, .s_a = sa, .v_b = vb, .s_b = sb, .v = va, .s = sa});
    }
}

TEST(Merge, AWrongMergeFailsTheCheck) {
  const Pair pair(Dtype::kBf16);
  const auto swapped = check_call("merge_state", pair.args(), [](MergeStateArgs& args) {
    std::swap(args.s_a, args.s_b);
    merge_state(args);
  });
  EXPECT_FALSE(swapped.passed);
  // Log-sum-exps to the base e are off by a factor of 1.44.
  const auto wrong_base = check_call("merge_state", pair.args(), [](MergeStateArgs& args) {
    for (const TensorView& s : {args.s_a, args.s_b})
      for (std::int64_t i = 0; i < s.size(); ++i) s.as<float>()[i] *= 1.442695f;
    merge_state(args);
  });
  EXPECT_FALSE(wrong_base.passed);
  const Pair other;
  const auto heads_swapped = check_call("merge_state", other.args(), [](MergeStateArgs& args) {
    float* s = args.s_a.as<float>();
    std::swap(s[0], s[1]);
    merge_state(args);
    std::swap(s[0], s[1]);
  });
  EXPECT_FALSE(heads_swapped.passed);
}

TEST(Merge, NamesArgumentExpectationAndFinding) {
  const Pair pair;
  Tensor half(Dtype::kF16, {5, 3, 40}), s_half(Dtype::kF16, {5, 3}), heads(Dtype::kF32, {5, 4});
  EXPECT_THAT(error_message([&] {
                MergeStateArgs args = pair.args();
                args.v_b = half;
                merge_state(args);
              }),
              HasSubstr("merge_state: v_b: expected dtype f32 (that of v_a), got f16[5, 3, 40]"));
  EXPECT_THAT(error_message([&] {
                MergeStateArgs args = pair.args();
                args.s_b = heads;
                merge_state(args);
              }),
              HasSubstr("merge_state: s_b: expected shape [num_tokens = 5, num_heads = 3], got f32[5, 4]"));
  EXPECT_THAT(error_message([&] {
                MergeStateInPlaceArgs args = pair.in_place();
                args.s = s_half;
                merge_state_in_place(args);
              }),
              HasSubstr("merge_state_in_place: s: expected dtype f32, got f16[5, 3]"));
  EXPECT_THAT(error_message([&] {
                MergeStateInPlaceArgs args = pair.in_place();
                args.v_other = args.v;
                merge_state_in_place(args);
              }),
              HasSubstr("merge_state_in_place: v: expected memory apart from v_other"));
}

}  // namespace
}  // namespace strobe
