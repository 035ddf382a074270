#include "strobe/sampling.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "sampling/philox.h"
#include "sampling/weight.h"
#include "support/call_check.h"
#include "support/layouts.h"
#include "support/sweep.h"

namespace strobe {
namespace {

using test::error_message;
using test::expect_matches_reference;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr const char* kFloatNames[] = {"f32", "f16", "bf16"};
constexpr const char* kSamplers[] = {"sampling_from_probs", "sampling_from_logits"};

Tensor row_of(const std::vector<float>& values) {
  Tensor row(Dtype::kF32, {1, static_cast<std::int64_t>(values.size())});
  std::copy(values.begin(), values.end(), row.as<float>());
  return row;
}

// The known-answer vectors that the authors publish with their implementation (kat_vectors, philox4x32 10).
TEST(Sampling, PhiloxGivesThePublishedAnswers) {
  const auto words = [](kernel::PhiloxBlock counter, std::uint32_t key0, std::uint32_t key1) {
    const kernel::PhiloxBlock block = kernel::philox(counter, key0, key1);
    return std::vector(block.word, block.word + 4);
  };
  EXPECT_THAT(words({{0, 0, 0, 0}}, 0, 0), ElementsAre(0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8));
  constexpr std::uint32_t kOnes = 0xffffffff;
  EXPECT_THAT(words({{kOnes, kOnes, kOnes, kOnes}}, kOnes, kOnes),
              ElementsAre(0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd));
  EXPECT_THAT(words({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0),
              ElementsAre(0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1));
}

TEST(Sampling, NumbersFollowTheCounterConvention) {
  const std::uint64_t seed = 0x0123456789abcdef, offset = 0xfedcba9876543210;
  const kernel::PhiloxBlock block = kernel::philox({{0x76543210, 0xfedcba98, 5, 0}}, 0x89abcdef, 0x01234567);
  EXPECT_EQ(kernel::random_bits(seed, offset, 5, 0), block.word[0] | std::uint64_t{block.word[1]} << 32);
  EXPECT_EQ(kernel::random_bits(seed, offset, 5, 1), block.word[2] | std::uint64_t{block.word[3]} << 32);
}

TEST(Sampling, ExponentialsAreThoseOfFp64) {
  double worst = 0;
  for (float temperature : {0.3f, 1.0f, 2.5f})
    for (int i = 0; i < 200000; ++i) {
      const float x = -static_cast<float>(i) * 1e-4f;
      const double want = std::exp(static_cast<double>(x) / static_cast<double>(temperature));
      if (want < 0x1p-40) break;
      const double got = static_cast<double>(kernel::exponential(x + 3, 3, kernel::factor_of(temperature)));
      // The difference to the largest logit is rounded: that is in the reference's x, too.
      const double exact = std::exp(static_cast<double>((x + 3) - 3.0f) / static_cast<double>(temperature));
      worst = std::max(worst, std::abs(got - exact) / exact / (1 + std::abs(static_cast<double>(x)) * 0.5));
    }
  EXPECT_LT(worst, 3e-7);
  EXPECT_EQ(kernel::exponential(-kInf, 3, 1), 0);
  EXPECT_EQ(kernel::exponential(3, 3, 1), 1);
}

TEST(Sampling, WeightsInPartsAreTheWeights) {
  const auto parts = [](float value) {
    kernel::WeightSum sum;
    sum.add(kernel::WeightParts(value));
    return sum.total();
  };
  for (std::uint32_t bits = 0; bits <= std::bit_cast<std::uint32_t>(2.0f); bits += 97)
    ASSERT_EQ(parts(std::bit_cast<float>(bits)), kernel::weight_of(std::bit_cast<float>(bits))) << bits;
  kernel::WeightSum most;
  for (int i = 0; i < 1024; ++i) most.add(kernel::WeightParts(2));
  EXPECT_EQ(most.total(), std::uint64_t{2048} << 40);
}

TEST(Sampling, MatchesTheReferenceOverDtypesAndLengths) {
  for (const char* sampler : kSamplers)
    for (const char* dtype : kFloatNames)
      for (const char* vocab : {"1", "3", "15", "16", "17", "65", "1000", "1024", "1025", "5003"})
        expect_matches_reference(
            sampler,
            {{"num_rows", "9"}, {"batch_size", "9"}, {"vocab_size", vocab}, {"dtype", dtype}, {"seed", "7"}});
}

TEST(Sampling, FiltersMatchTheReference) {
  for (const char* sampler : kSamplers)
    for (const char* dtype : kFloatNames)
      for (const auto& [k, p, min] : {std::tuple("1", "1", "0"),
                                      {"50", "1", "0"},
                                      {"0", "0.9", "0"},
                                      {"0", "0.5", "0"},
                                      {"0", "0", "0"},
                                      {"0", "1", "0.05"},
                                      {"40", "0.8", "0"},
                                      {"999", "0.99", "0.01"}})
        for (const char* joint : {"false", "true"})
          expect_matches_reference(sampler, {{"num_rows", "6"},
                                             {"batch_size", "6"},
                                             {"vocab_size", "3001"},
                                             {"samples_dtype", "i64"},
                                             {"dtype", dtype},
                                             {"top_k", k},
                                             {"top_p", p},
                                             {"min_p", min},
                                             {"joint", joint}});
}

TEST(Sampling, LongRowsMatchTheReference) {
  for (const char* sampler : kSamplers)
    for (const char* p : {"1", "0.9", "0.1"})
      for (const char* k : {"0", "50"})
        expect_matches_reference(sampler, {{"num_rows", "2"},
                                           {"batch_size", "2"},
                                           {"vocab_size", "128256"},
                                           {"dtype", "f32"},
                                           {"top_k", k},
                                           {"top_p", p}});
}

TEST(Sampling, WrittenRowsMatchTheReference) {
  for (const char* dtype : kFloatNames)
    for (const char* vocab : {"1", "17", "1024", "3001"}) {
      const test::Values sizes = {{"batch_size", "5"}, {"vocab_size", vocab}, {"dtype", dtype}};
      for (const char* temperature : {"1", "0.4", "0", "7"}) {
        test::Values values = sizes;
        values.emplace_back("temperature", temperature);
        expect_matches_reference("softmax", values);
      }
      for (const char* routine : {"renorm_probs", "mask_logits"})
        for (const auto& [k, p] : {std::pair("0", "1"), {"10", "1"}, {"0", "0.7"}, {"100", "0.5"}}) {
          test::Values values = sizes;
          values.emplace_back("top_k", k);
          values.emplace_back("top_p", p);
          expect_matches_reference(routine, values);
        }
    }
}

TEST(Sampling, WorksInPlaceAndOnStridedViews) {
  for (const char* routine : {"renorm_probs", "mask_logits"})
    test::expect_in_place_matches_reference(routine,
                                            {{"batch_size", "4"}, {"vocab_size", "777"}, {"top_k", "20"}});
  for (const char* routine : {"renorm_probs", "mask_logits", "softmax"})
    test::expect_strided_matches_reference(routine, {{"batch_size", "6"}, {"vocab_size", "257"}});
}

// Distributions on which a guess from part of the row goes wrong.
std::vector<std::vector<float>> awkward_rows(std::int64_t size) {
  const auto n = static_cast<std::size_t>(size);
  std::vector<std::vector<float>> rows;
  rows.emplace_back(n, 1 / static_cast<float>(n));  // one value
  rows.emplace_back(n, 0.5f / static_cast<float>(n));
  rows.back()[n / 2 + 3] = 0.5f;  // one heavy token that no sample finds
  rows.emplace_back(n, 0.0f);
  rows.back()[n - 1] = 1;
  rows.emplace_back();
  for (std::size_t j = 0; j < n; ++j)  // neighbours differ in the last bit
    rows.back().push_back(
        std::bit_cast<float>(0x38000000u + static_cast<std::uint32_t>(j * 2654435761u % 64)));
  rows.emplace_back();
  for (std::size_t j = 0; j < n; ++j) rows.back().push_back(std::ldexp(1.0f, -static_cast<int>(j % 140)));
  return rows;
}

TEST(Sampling, AwkwardRowsMatchTheReference) {
  constexpr std::int64_t kSize = 70001;
  const std::vector<std::vector<float>> rows = awkward_rows(kSize);
  const auto count = static_cast<std::int64_t>(rows.size());
  Tensor probs(Dtype::kF32, {count, kSize});
  for (std::size_t r = 0; r < rows.size(); ++r)
    std::copy(rows[r].begin(), rows[r].end(), probs.as<float>() + r * static_cast<std::size_t>(kSize));
  const Tensor samples(Dtype::kI32, {count}), valid(Dtype::kBool, {count});
  for (cpu::Isa isa : test::isa_levels())
    for (const TokenFilter& filter : {TokenFilter{.top_p = 0.9f},
                                      {.top_p = 0.4f},
                                      {.top_k = 1},
                                      {.top_k = 50},
                                      {.top_k = 40000},
                                      {.top_k = 1000, .top_p = 0.5f},
                                      {.top_k = 1000, .top_p = 0.5f, .joint = true},
                                      {.min_p = 0.3f}}) {
      if (isa == cpu::Isa::kPortable && filter.top_k > 50) continue;  // its multiply-adds are slow
      const test::ScopedIsa scoped(isa);
      const auto from_probs = test::check_call(
          "sampling_from_probs",
          SamplingFromProbsArgs{.probs = probs, .samples = samples, .valid = valid, .filter = filter},
          [](const SamplingFromProbsArgs& args) { sampling_from_probs(args); });
      EXPECT_TRUE(from_probs.passed) << cpu::name(isa) << ": " << from_probs.worst;
      const auto from_logits = test::check_call(
          "sampling_from_logits",
          SamplingFromLogitsArgs{.logits = probs, .samples = samples, .valid = valid, .filter = filter},
          [](const SamplingFromLogitsArgs& args) { sampling_from_logits(args); });
      EXPECT_TRUE(from_logits.passed) << cpu::name(isa) << ": " << from_logits.worst;
    }
}

// The row that a filter leaves, as 0 and 1.
std::vector<int> kept_of(const std::vector<float>& probs, const TokenFilter& filter) {
  const Tensor row = row_of(probs), out(Dtype::kF32, {1, row.view().shape[1]});
  renorm_probs({.probs = row, .out = out, .filter = filter});
  std::vector<int> kept;
  for (std::size_t j = 0; j < probs.size(); ++j) kept.push_back(out.as<float>()[j] > 0);
  return kept;
}

TEST(Sampling, TiesAtTheBorderStayTogether) {
  const std::vector<float> probs = {0.125f, 0.25f, 0.125f, 0.25f, 0.125f, 0.125f};
  EXPECT_THAT(kept_of(probs, {.top_k = 1}), ElementsAre(0, 1, 0, 1, 0, 0));
  EXPECT_THAT(kept_of(probs, {.top_k = 2}), ElementsAre(0, 1, 0, 1, 0, 0));
  EXPECT_THAT(kept_of(probs, {.top_k = 3}), ElementsAre(1, 1, 1, 1, 1, 1));
  EXPECT_THAT(kept_of(probs, {.top_p = 0.5f}), ElementsAre(0, 1, 0, 1, 0, 0)) << "exactly the mass";
  EXPECT_THAT(kept_of(probs, {.top_p = 0.500001f}), ElementsAre(1, 1, 1, 1, 1, 1));
  EXPECT_THAT(kept_of(probs, {.top_p = 0}), ElementsAre(0, 1, 0, 1, 0, 0));
  EXPECT_THAT(kept_of(probs, {.min_p = 0.5f}), ElementsAre(1, 1, 1, 1, 1, 1));
  EXPECT_THAT(kept_of(probs, {.min_p = 0.51f}), ElementsAre(0, 1, 0, 1, 0, 0));
}

TEST(Sampling, FiltersComeOneAfterTheOtherOrJoint) {
  const std::vector<float> probs = {0.4f, 0.3f, 0.2f, 0.1f};
  // Of the two that top-k leaves, the first has 0.57 of the weight; of all it has 0.4.
  EXPECT_THAT(kept_of(probs, {.top_k = 2, .top_p = 0.5f}), ElementsAre(1, 0, 0, 0));
  EXPECT_THAT(kept_of(probs, {.top_k = 2, .top_p = 0.5f, .joint = true}), ElementsAre(1, 1, 0, 0));
}

TEST(Sampling, BadRowsGiveZeroAndSaySo) {
  const std::vector<std::vector<float>> bad_probs = {
      {0.5f, kNan, 0.5f}, {0.5f, -0.1f, 0.6f}, {0, 0, 0}, {0.5f, kInf, 0.5f}, {2.5f, 0, 0}};
  const std::vector<std::vector<float>> bad_logits = {{0, kNan, 1}, {0, kInf, 1}, {-kInf, -kInf, -kInf}};
  Tensor sample(Dtype::kI32, {1}), valid(Dtype::kBool, {1});
  const auto expect_bad = [&](const std::string& what) {
    EXPECT_EQ(*sample.as<std::int32_t>(), 0) << what;
    EXPECT_FALSE(*valid.as<bool>()) << what;
    *sample.as<std::int32_t>() = 77;
    *valid.as<bool>() = true;
  };
  for (cpu::Isa isa : test::isa_levels())
    for (const TokenFilter& filter : {TokenFilter{}, {.top_k = 2}, {.top_p = 0.9f}, {.min_p = 0.1f}}) {
      const test::ScopedIsa scoped(isa);
      for (const auto& row : bad_probs) {
        sampling_from_probs({.probs = row_of(row), .samples = sample, .valid = valid, .filter = filter});
        expect_bad(testing::PrintToString(row));
        const Tensor out(Dtype::kF32, {1, 3});
        renorm_probs({.probs = row_of(row), .out = out, .filter = filter});
        for (int j = 0; j < 3; ++j)
          EXPECT_TRUE(std::isnan(out.as<float>()[j])) << testing::PrintToString(row);
      }
      for (const auto& row : bad_logits) {
        sampling_from_logits({.logits = row_of(row), .samples = sample, .valid = valid, .filter = filter});
        expect_bad(testing::PrintToString(row));
        const Tensor probs(Dtype::kF32, {1, 3}), masked(Dtype::kF32, {1, 3}), logits = row_of(row);
        softmax({.logits = logits, .probs = probs});
        mask_logits({.logits = logits, .out = masked, .filter = filter});
        for (int j = 0; j < 3; ++j) {
          EXPECT_TRUE(std::isnan(probs.as<float>()[j])) << testing::PrintToString(row);
          EXPECT_EQ(std::bit_cast<std::uint32_t>(masked.as<float>()[j]),
                    std::bit_cast<std::uint32_t>(logits.as<float>()[j]));
        }
      }
    }
}

TEST(Sampling, OneBadTokenOfALongRowIsSeen) {
  constexpr std::size_t kSize = 5003, kPlace = 4999;
  const Tensor sample(Dtype::kI32, {1}), valid(Dtype::kBool, {1});
  for (cpu::Isa isa : test::isa_levels())
    for (const TokenFilter& filter : {TokenFilter{.top_p = 0.9f}, {.top_k = 50, .top_p = 0.9f}})
      for (const float token : {kNan, -0.1f, 2.5f, kInf, -0.0f}) {
        const test::ScopedIsa scoped(isa);
        std::vector<float> row(kSize, 1 / static_cast<float>(kSize));
        row[kPlace] = token;
        sampling_from_probs({.probs = row_of(row), .samples = sample, .valid = valid, .filter = filter});
        EXPECT_EQ(*valid.as<bool>(), token == 0) << cpu::name(isa) << ": " << token;
      }
}

TEST(Sampling, ParametersOfRowsTakeTheScalarsPlace) {
  Tensor probs(Dtype::kF32, {6, 4});
  for (int row = 0; row < 6; ++row)
    for (int j = 0; j < 4; ++j) probs.view().at<float>(row, j) = (static_cast<float>(j) + 1) / 10;
  std::vector<std::int32_t> top_k = {1, 2, 0, -5, 100, 4};
  std::vector<float> top_p = {1, 1, 0.39f, kNan, 3, -1};
  const Tensor out(Dtype::kF32, {6, 4});
  renorm_probs(
      {.probs = probs,
       .out = out,
       .filter = {.top_k = 3, .top_k_rows = TensorView::of(top_k), .top_p_rows = TensorView::of(top_p)}});
  const int kept[] = {1, 2, 1, 4, 4, 1};
  for (int row = 0; row < 6; ++row)
    for (int j = 0; j < 4; ++j)
      EXPECT_EQ(out.view().at<float>(row, j) > 0, j >= 4 - kept[row]) << row << " " << j;
}

// Where random numbers come from: seeds, offsets, rows.
class Draws : public testing::Test {
 protected:
  static constexpr std::int64_t kRows = 64, kVocab = 1000;
  Draws() : probs_(Dtype::kF32, {1, kVocab}) {
    for (int j = 0; j < kVocab; ++j) probs_.as<float>()[j] = 1.0f / kVocab;
  }
  std::vector<std::int32_t> draw(const RandomNumbers& random) const {
    std::vector<std::int32_t> samples(kRows, -1), indices(kRows, 0);
    sampling_from_probs({.probs = probs_,
                         .samples = TensorView::of(samples),
                         .indices = TensorView::of(indices),
                         .random = random});
    return samples;
  }
  Tensor probs_;
};

TEST_F(Draws, AreTheSameForTheSameNumbersOnly) {
  const std::vector<std::int32_t> first = draw({.seed = 1, .offset = 2});
  EXPECT_EQ(draw({.seed = 1, .offset = 2}), first);
  EXPECT_NE(draw({.seed = 1, .offset = 3}), first);
  EXPECT_NE(draw({.seed = 2, .offset = 2}), first);
  EXPECT_GT(std::set(first.begin(), first.end()).size(), 50u) << "rows differ";
}

TEST_F(Draws, TensorsAreTheSameAsScalars) {
  std::vector<std::int64_t> seed = {1}, offset = {2};
  EXPECT_EQ(draw({.seeds = TensorView::of(seed), .offsets = TensorView::of(offset)}),
            draw({.seed = 1, .offset = 2}));
  std::vector<std::int64_t> offsets(kRows, 2);
  EXPECT_EQ(draw({.seed = 1, .offsets = TensorView::of(offsets)}), draw({.seed = 1, .offset = 2}));
}

TEST_F(Draws, OfARowWithItsOwnSeedDoNotDependOnItsPlace) {
  std::vector<std::int64_t> seeds(kRows);
  for (std::size_t i = 0; i < seeds.size(); ++i)
    seeds[i] = static_cast<std::int64_t>(i) + (std::int64_t{1} << 60);
  const std::vector<std::int32_t> forwards = draw({.seeds = TensorView::of(seeds)});
  std::reverse(seeds.begin(), seeds.end());
  std::vector<std::int32_t> backwards = draw({.seeds = TensorView::of(seeds)});
  EXPECT_NE(forwards, backwards);
  std::reverse(backwards.begin(), backwards.end());
  EXPECT_EQ(forwards, backwards);
}

TEST(Sampling, AnIndexOutOfRangeIsABadRow) {
  std::vector<std::int32_t> samples(3, 7), indices = {0, 1, -1};
  const Tensor valid(Dtype::kBool, {3});
  sampling_from_probs({.probs = row_of({0, 1, 0}),
                       .samples = TensorView::of(samples),
                       .valid = valid,
                       .indices = TensorView::of(indices)});
  EXPECT_THAT(samples, ElementsAre(1, 0, 0));
  EXPECT_THAT(std::vector<bool>(valid.as<bool>(), valid.as<bool>() + 3), ElementsAre(true, false, false));
}

TEST(Sampling, AnotherParameterFailsTheCheck) {
  for (const char* sampler : kSamplers)
    test::for_each_problem(
        sampler, {{"num_rows", "50"}, {"batch_size", "50"}, {"vocab_size", "500"}, {"top_p", "0.9"}}, 1,
        [&](op::Problem& problem, op::Random& random, const std::string& label) {
          const op::Expected expected =
              op::expect(*problem.op, problem.args.get(), problem.axes, 100, random);
          if (sampler == kSamplers[0])
            static_cast<SamplingFromProbsArgs*>(problem.args.get())->filter.top_p = 0.88f;
          else
            static_cast<SamplingFromLogitsArgs*>(problem.args.get())->filter.top_p = 0.88f;
          problem.run();
          EXPECT_FALSE(op::compare(*problem.op, problem.args.get(), problem.axes, expected).passed) << label;
        });
}

TEST(Sampling, NamesWhatIsWrong) {
  const Tensor probs(Dtype::kF32, {2, 8}), samples(Dtype::kI32, {2}), three(Dtype::kI32, {3}),
      floats(Dtype::kF32, {2}), seeds(Dtype::kI64, {3}), empty(Dtype::kF32, {2, 0});
  const auto message = [&](const SamplingFromProbsArgs& args) {
    return error_message([&] { sampling_from_probs(args); });
  };
  EXPECT_THAT(
      message({.probs = probs, .samples = three}),
      HasSubstr("sampling_from_probs: samples: expected at most num_rows = 2 without indices, got i32[3]"));
  EXPECT_THAT(message({.probs = probs, .samples = floats}), HasSubstr("samples: expected dtype i32 or i64"));
  EXPECT_THAT(message({.probs = probs, .samples = samples, .filter = {.top_k = -1}}),
              HasSubstr("top_k: expected a value in [0, "));
  EXPECT_THAT(message({.probs = probs, .samples = samples, .filter = {.top_p = 1.5f}}),
              HasSubstr("top_p: expected a value in [0, 1], got 1.5"));
  EXPECT_THAT(message({.probs = probs, .samples = samples, .filter = {.top_p = kNan}}), HasSubstr("top_p: "));
  EXPECT_THAT(message({.probs = probs, .samples = samples, .filter = {.top_k_rows = three}}),
              HasSubstr("top_k_rows: expected shape [batch_size = 2], got i32[3]"));
  EXPECT_THAT(message({.probs = probs, .samples = samples, .random = {.seeds = seeds}}),
              HasSubstr("seeds: expected 1 or batch_size = 2 elements, got i64[3]"));
  EXPECT_THAT(message({.probs = empty, .samples = samples}),
              HasSubstr("vocab_size: expected at least one token"));
  EXPECT_THAT(error_message([&] {
                softmax({.logits = probs, .probs = Tensor(Dtype::kF32, {2, 8}), .temperature = -1});
              }),
              HasSubstr("softmax: temperature: expected a value in [0, 1e+30], got -1"));
}

}  // namespace
}  // namespace strobe
