#include "strobe/logits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "support/call_check.h"
#include "support/layouts.h"
#include "support/logits_case.h"
#include "support/sweep.h"

namespace strobe {
namespace {

using test::check_call;
using test::error_message;
using test::expect_matches_reference;
using test::PenaltiesCase;
using test::PenaltiesProblem;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr Dtype kFloatDtypes[] = {Dtype::kF32, Dtype::kF16, Dtype::kBf16};

TensorView row(std::vector<float>& x) {
  return {x.data(), Dtype::kF32, {1, static_cast<std::int64_t>(x.size())}};
}
TensorView row(std::vector<std::int32_t>& x) {
  return {x.data(), Dtype::kI32, {1, static_cast<std::int64_t>(x.size())}};
}

TEST(Logits, BitmaskMatchesTheReferenceOverDtypesAndTails) {
  for (const char* dtype : {"f32", "f16", "bf16"})
    for (const auto& [vocab, words] : {std::pair("1", "1"), {"31", "1"}, {"33", "2"}, {"1000", "40"}})
      expect_matches_reference("apply_token_bitmask", {{"batch_size", "4"},
                                                       {"num_masks", "6"},
                                                       {"vocab_size", vocab},
                                                       {"num_words", words},
                                                       {"dtype", dtype}});
}

TEST(Logits, PenaltiesMatchTheReferenceOverDtypesTailsAndStrides) {
  for (Dtype dtype : kFloatDtypes)
    for (std::int64_t vocab_size : {1, 7, 16, 33, 64, 1001})
      for (std::int64_t gap : {0, 3})
        for (cpu::Isa isa : test::isa_levels()) {
          const test::ScopedIsa scoped(isa);
          PenaltiesProblem problem({.vocab_size = vocab_size, .dtype = dtype, .gap = gap});
          const auto result = check_call("apply_penalties", problem.args,
                                         [](const PenaltiesArgs& args) { apply_penalties(args); });
          EXPECT_TRUE(result.passed) << cpu::name(isa) << " " << vocab_size << ": " << result.worst;
          EXPECT_GT(result.elements, 0);
        }
}

// Without masks and rows of parameters, as the routine calls it; many rows, on several workers.
TEST(Logits, PenaltiesForAllRowsMatchTheReference) {
  expect_matches_reference("apply_penalties", {{"batch_size", "70"},
                                               {"num_slots", "70"},
                                               {"vocab_size", "5003"},
                                               {"repetition_penalty", "1.3"},
                                               {"frequency_penalty", "0.5"},
                                               {"presence_penalty", "-0.25"}});
}

TEST(Logits, PenaltiesAreThoseOfTheFormula) {
  std::vector<float> logits = {4, -4, 4, -4, 4}, out(5);
  std::vector<std::int32_t> counts = {0, 0, 3, 1, 0}, prompt = {0b10011}, allowed = {0b01111};
  apply_penalties({.logits = row(logits),
                   .out = row(out),
                   .counts = row(counts),
                   .prompt_mask = row(prompt),
                   .repetition_penalty = 2,
                   .frequency_penalty = 0.5f,
                   .presence_penalty = 0.25f,
                   .bitmask = row(allowed)});
  EXPECT_THAT(out, ElementsAre(2, -8, 2 - 1.5f - 0.25f, -8 - 0.5f - 0.25f, -kInf));
}

TEST(Logits, InPlaceIsTheSame) {
  PenaltiesProblem problem({.vocab_size = 77});
  PenaltiesArgs args = problem.args;
  args.out = args.logits;
  const auto result =
      check_call("apply_penalties", args, [](const PenaltiesArgs& in_place) { apply_penalties(in_place); });
  EXPECT_TRUE(result.passed) << result.worst;
}

TEST(Logits, ChangedArgumentsFailTheCheck) {
  const auto passes = [](void (*change)(PenaltiesArgs&)) {
    PenaltiesProblem problem({.vocab_size = 50});
    return check_call("apply_penalties", problem.args,
                      [&](PenaltiesArgs& args) {
                        change(args);
                        apply_penalties(args);
                      })
        .passed;
  };
  EXPECT_TRUE(passes([](PenaltiesArgs&) {}));
  EXPECT_FALSE(passes([](PenaltiesArgs& args) { ++args.counts.at<std::int32_t>(1, 20); }));
  EXPECT_FALSE(passes([](PenaltiesArgs& args) { args.bitmask.at<std::int32_t>(0, 1) ^= 1 << 5; }));
  EXPECT_FALSE(passes([](PenaltiesArgs& args) { args.presence_penalty_rows.at<float>(2) += 1e-3f; }));
  EXPECT_FALSE(passes([](PenaltiesArgs& args) { args.slots.at<std::int32_t>(0) = 0; }));
}

TEST(Logits, RowsWithoutTheirStateBecomeNan) {
  const auto outcome = [](std::int32_t slot, std::int32_t mask, float repetition, float frequency) {
    std::vector<float> logits = {1, -kInf}, out(2), repetitions = {repetition}, frequencies = {frequency};
    std::vector<std::int32_t> counts = {1, 0}, allowed = {0b10}, slots = {slot}, masks = {mask};
    apply_penalties({.logits = row(logits),
                     .out = row(out),
                     .counts = row(counts),
                     .slots = {slots.data(), Dtype::kI32, {1}},
                     .repetition_penalty_rows = {repetitions.data(), Dtype::kF32, {1}},
                     .frequency_penalty_rows = {frequencies.data(), Dtype::kF32, {1}},
                     .bitmask = row(allowed),
                     .bitmask_indices = {masks.data(), Dtype::kI32, {1}}});
    return std::isnan(out[0]) && std::isnan(out[1]) ? "nan" : out[0] == -kInf ? "masked" : "kept";
  };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_STREQ(outcome(0, 0, 1, 0), "masked");
  EXPECT_STREQ(outcome(0, -1, 1, 0), "kept");
  EXPECT_STREQ(outcome(-5, -1, nan, nan), "kept");  // no slot, no penalties
  EXPECT_STREQ(outcome(1, 0, 1, 0), "nan");
  EXPECT_STREQ(outcome(0, 1, 1, 0), "nan");
  EXPECT_STREQ(outcome(0, 0, 0, 0), "nan");
  EXPECT_STREQ(outcome(0, 0, -1, 0), "nan");
  EXPECT_STREQ(outcome(0, 0, nan, 0), "nan");
  EXPECT_STREQ(outcome(0, 0, 1, nan), "nan");
}

TEST(Logits, NanStaysUnlessItIsMasked) {
  std::vector<float> logits = {std::numeric_limits<float>::quiet_NaN(), std::nanf(""), 1}, out(3);
  std::vector<std::int32_t> allowed = {0b101};
  apply_token_bitmask({.logits = row(logits), .out = row(out), .bitmask = row(allowed)});
  EXPECT_TRUE(std::isnan(out[0]));
  EXPECT_EQ(out[1], -kInf);
  EXPECT_EQ(out[2], 1);
}

TEST(Logits, BadInputIsRejected) {
  const Tensor logits(Dtype::kF32, {2, 70}), out(Dtype::kF32, {2, 70}), counts(Dtype::kI32, {2, 70});
  const Tensor narrow(Dtype::kI32, {2, 2}), single(Dtype::kI32, {1, 3}), masks(Dtype::kI32, {2});
  const Tensor other(Dtype::kF32, {2, 71}), floats(Dtype::kF32, {2, 3});
  const auto mask_error = [&](TokenBitmaskArgs args) {
    return error_message([&] { apply_token_bitmask(args); });
  };
  const auto penalty_error = [&](PenaltiesArgs args) {
    return error_message([&] { apply_penalties(args); });
  };
  EXPECT_THAT(mask_error({.logits = logits, .out = out, .bitmask = narrow}),
              HasSubstr("bitmask: expected at least 3 words a row for 70 tokens"));
  EXPECT_THAT(mask_error({.logits = logits, .out = out, .bitmask = single}),
              HasSubstr("bitmask: expected at least batch_size = 2 rows without indices"));
  EXPECT_THAT(mask_error({.logits = logits, .out = other, .bitmask = narrow}), HasSubstr("out"));
  EXPECT_THAT(mask_error({.logits = logits, .out = out, .bitmask = floats}), HasSubstr("bitmask"));
  EXPECT_THAT(mask_error({.logits = logits, .out = out}), HasSubstr("bitmask"));
  EXPECT_THAT(penalty_error({.logits = logits, .out = out}), HasSubstr("counts"));
  EXPECT_THAT(penalty_error({.logits = logits, .out = out, .counts = counts, .prompt_mask = narrow}),
              HasSubstr("prompt_mask: expected at least 3 words"));
  EXPECT_THAT(penalty_error({.logits = logits, .out = out, .counts = counts, .repetition_penalty = 0}),
              HasSubstr("repetition_penalty"));
  EXPECT_THAT(penalty_error({.logits = logits, .out = out, .counts = counts, .bitmask_indices = masks}),
              HasSubstr("bitmask_indices: expected none without a bitmask"));
}

TEST(Logits, AnEmptyBatchIsNothing) {
  const Tensor logits(Dtype::kF32, {0, 70}), counts(Dtype::kI32, {0, 70}), mask(Dtype::kI32, {0, 3});
  apply_token_bitmask({.logits = logits, .out = logits, .bitmask = mask});
  apply_penalties({.logits = logits, .out = logits, .counts = counts});
}

}  // namespace
}  // namespace strobe
