// How outputs are judged that are not compared element by element: samples, low-bit outputs, sets of indices.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "op/random.h"
#include "trace/run/compare.h"
#include "trace/run/sampling.h"

namespace strobe::trace {
namespace {

using testing::HasSubstr;
using testing::Optional;

constexpr std::int64_t kVocabulary = 500;

std::vector<float> distribution(op::Random& random) {
  std::vector<float> row(kVocabulary);
  double sum = 0;
  for (float& p : row) sum += p = static_cast<float>(std::exp(2 * random.normal()));
  for (float& p : row) p = static_cast<float>(p / sum);
  return row;
}

// The allowed tokens of a row, the likeliest first, by another way than the test's: a threshold.
std::vector<std::int64_t> allowed(const std::vector<float>& row, const Filter& filter) {
  std::vector<std::int64_t> tokens(row.size());
  std::iota(tokens.begin(), tokens.end(), 0);
  const auto of = [&](std::int64_t token) { return row[static_cast<std::size_t>(token)]; };
  std::stable_sort(tokens.begin(), tokens.end(), [&](auto a, auto b) { return of(a) > of(b); });
  if (filter.top_k > 0) tokens.resize(static_cast<std::size_t>(filter.top_k));
  double all = 0, sum = 0;
  for (const std::int64_t token : tokens) all += of(token);
  std::size_t count = 0;
  while (count < tokens.size() && sum < filter.top_p * all) sum += of(tokens[count++]);
  tokens.resize(count);
  return tokens;
}

// A token by its share of `power` of the probabilities: 1 is right, 0 uniform.
std::int64_t draw(const std::vector<float>& row, const std::vector<std::int64_t>& tokens, double power,
                  op::Random& random) {
  const auto weight = [&](std::int64_t token) {
    return std::pow(row[static_cast<std::size_t>(token)], power);
  };
  double sum = 0;
  for (const std::int64_t token : tokens) sum += weight(token);
  double left = random.uniform() * sum;
  for (const std::int64_t token : tokens)
    if ((left -= weight(token)) < 0) return token;
  return tokens.back();
}

double excess_of(const Filter& filter, double power, std::uint64_t seed) {
  op::Random random(seed);
  SampleTest test;
  for (int row = 0; row < 400; ++row) {
    const std::vector<float> p = distribution(random);
    const auto problem = test.add(p, filter, draw(p, allowed(p, filter), power, random));
    EXPECT_EQ(problem, std::nullopt);
  }
  return test.excess();
}

TEST(TraceSampling, HonestSamplersPass) {
  for (const Filter& filter :
       {Filter{}, Filter{.top_k = 20}, Filter{.top_p = 0.7}, Filter{50, 0.5}, Filter{.top_k = 1}})
    for (std::uint64_t seed = 0; seed < 5; ++seed)
      EXPECT_LT(excess_of(filter, 1, seed), 4) << filter.top_k << filter.top_p;
}

TEST(TraceSampling, SamplersOfAnotherDistributionDoNot) {
  for (const Filter& filter : {Filter{}, Filter{.top_k = 20}, Filter{50, 0.8}})
    for (const double power : {0.0, 0.6, 2.0, 30.0})  // uniform, flatter, sharper, the likeliest
      EXPECT_GT(excess_of(filter, power, 1), SampleTest::kMostExcess) << filter.top_k << " power " << power;
}

TEST(TraceSampling, TokensThatTheFilterForbidsAreNamed) {
  const std::vector<float> p = {0.1f, 0.4f, 0.3f, 0.2f};
  SampleTest test;
  EXPECT_THAT(test.add(p, {.top_k = 2}, 3),
              Optional(HasSubstr("token 3 is none of the 2 that may be drawn")));
  EXPECT_THAT(test.add(p, {.top_p = 0.65}, 3), Optional(HasSubstr("none of the 2")));
  EXPECT_EQ(test.add(p, {.top_p = 0.75}, 3), std::nullopt);
  EXPECT_THAT(test.add(p, {}, 4), Optional(HasSubstr("token 4 is none of 4")));
  EXPECT_THAT(test.add(p, {}, -1), Optional(HasSubstr("token -1")));
  EXPECT_EQ(test.add({p.data(), 4}, {.top_k = 4}, 0), std::nullopt);
}

TensorView view(std::vector<float>& values) {
  return {values.data(), Dtype::kF32, {static_cast<std::int64_t>(values.size())}};
}

TEST(TraceLowBit, AShareMayBeOffButNotFar) {
  op::Random random(1);
  std::vector<float> want(1000);
  for (float& x : want) x = static_cast<float>(random.normal());
  std::vector<float> near = want, far = want;
  for (std::size_t i = 0; i < 40; ++i) {
    near[i] += 0.1f;
    far[i] += 1000;  // 96 in 100 match all the same
  }
  EXPECT_EQ(judge(Rule::kLowBit, view(near), view(want), Bounds{}).problem, "");
  EXPECT_THAT(judge(Rule::kElements, view(near), view(want), Bounds{}).problem,
              HasSubstr("40 of 1000 elements are wrong"));
  EXPECT_THAT(judge(Rule::kLowBit, view(far), view(want), Bounds{}).problem, HasSubstr("root mean square"));
  for (std::size_t i = 0; i < 60; ++i) near[i] = want[i] + 0.1f;
  EXPECT_THAT(judge(Rule::kLowBit, view(near), view(want), Bounds{}).problem, HasSubstr("60 of 1000"));
  far = want;
  far[7] = std::nanf("");
  EXPECT_THAT(judge(Rule::kLowBit, view(far), view(want), Bounds{}).problem, HasSubstr("root mean square"));
}

TEST(TraceIndexSets, OrderDoesNotCountAndRowsAreSets) {
  std::vector<std::int32_t> want(200);
  std::iota(want.begin(), want.begin() + 100, 1000);
  std::iota(want.begin() + 100, want.begin() + 150, 7);
  std::fill(want.begin() + 150, want.end(), -1);
  const auto problem = [&](std::vector<std::int32_t> got) {
    return judge(Rule::kIndexSets, TensorView(got.data(), Dtype::kI32, {2, 100}),
                 TensorView(want.data(), Dtype::kI32, {2, 100}), Bounds{})
        .problem;
  };
  std::vector<std::int32_t> got = want;
  std::reverse(got.begin(), got.begin() + 100);
  std::reverse(got.begin() + 100, got.end());
  EXPECT_EQ(problem(got), "");
  got[3] = 5;
  EXPECT_EQ(problem(got), "");  // one of 200, as good as the last
  got[4] = 6, got[5] = 8;
  EXPECT_EQ(problem(got), "3 of 200 indices are wrong");
  got = want;
  got[1] = got[0];
  EXPECT_EQ(problem(got), "100 of 200 indices are wrong");  // twice: no matter of rounding
  got = want;
  got[150] = 3;
  EXPECT_EQ(problem(got), "100 of 200 indices are wrong");  // more than there are
}

TEST(TraceRules, FollowTheDefinition) {
  Definition definition;
  definition.op_type = "sampling";
  definition.outputs = {{.name = "y", .shape = {}, .dtype = "int32", .description = {}}};
  EXPECT_EQ(rule_of(definition, definition.outputs[0]), Rule::kSamples);
  definition.op_type = "dsa_paged";
  definition.name = "dsa_topk_indexer_fp8_h64";
  EXPECT_EQ(rule_of(definition, definition.outputs[0]), Rule::kIndexSets);
  definition.name = "moe_fp8_block_scale_ds_routing";
  EXPECT_EQ(rule_of(definition, definition.outputs[0]), Rule::kLowBit);
  definition.name = "rmsnorm";
  EXPECT_EQ(rule_of(definition, definition.outputs[0]), Rule::kElements);
}

}  // namespace
}  // namespace strobe::trace
