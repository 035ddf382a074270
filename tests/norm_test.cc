#include "strobe/norm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "cpu/norm_kernel.h"
#include "op/random.h"
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
constexpr const char* kNorms[] = {"rmsnorm", "fused_add_rmsnorm", "layernorm"};
constexpr const char* kQuantNorms[] = {"rmsnorm_quant", "fused_add_rmsnorm_quant", "layernorm_quant"};
constexpr const char* kFloatNames[] = {"f32", "f16", "bf16"};
// Around multiples of every level's vector and of four of them.
constexpr const char* kHidden[] = {"1",  "3",  "4",  "7",  "8",   "15",  "16",   "17",  "31",
                                   "33", "63", "64", "65", "100", "128", "4096", "4099"};

Tensor random_tensor(Dtype dtype, std::initializer_list<std::int64_t> shape, std::uint64_t seed,
                     double mean = 0) {
  Tensor tensor(dtype, shape);
  op::Random random(seed);
  op::fill_normal(tensor, random, mean);
  return tensor;
}

TEST(Norm, MatchesTheReferenceOverDtypesAndTails) {
  for (const char* norm : kNorms)
    for (const char* dtype : kFloatNames)
      for (const char* hidden : kHidden)
        expect_matches_reference(norm, {{"num_tokens", "5"}, {"hidden", hidden}, {"dtype", dtype}});
}

TEST(Norm, GemmaFormsMatchTheReference) {
  for (const char* norm : {"rmsnorm", "fused_add_rmsnorm", "rmsnorm_quant", "fused_add_rmsnorm_quant"})
    for (const char* dtype : kFloatNames)
      for (const char* hidden : {"7", "256", "3072"})
        expect_matches_reference(
            norm, {{"num_tokens", "3"}, {"hidden", hidden}, {"dtype", dtype}, {"gemma", "true"}});
}

TEST(Norm, QuantisingFormsMatchTheReferenceOverDtypesAndTails) {
  for (const char* norm : kQuantNorms)
    for (const char* dtype : kFloatNames)
      for (const char* out : {"e4m3", "e5m2"})
        for (const char* hidden : {"1", "7", "16", "31", "64", "100", "4099"})
          expect_matches_reference(norm, {{"num_tokens", "4"},
                                          {"hidden", hidden},
                                          {"dtype", dtype},
                                          {"out_dtype", out},
                                          {"scale", "0.037"}});
}

TEST(Norm, MatchesTheReferenceOnStridedViews) {
  for (const char* hidden : {"7", "128", "257"})
    for (const char* num_tokens : {"1", "5", "6"}) {  // 6 becomes 3 x 2, its axes exchanged in memory
      for (const char* norm : kNorms)
        expect_strided_matches_reference(norm, {{"num_tokens", num_tokens}, {"hidden", hidden}});
      for (const char* norm : kQuantNorms)
        expect_strided_matches_reference(norm,
                                         {{"num_tokens", num_tokens}, {"hidden", hidden}, {"dtype", "f16"}});
    }
}

TEST(Norm, MatchesTheReferenceInPlace) {
  for (const char* norm : {"rmsnorm", "layernorm"})
    for (const char* dtype : kFloatNames)
      expect_in_place_matches_reference(norm, {{"num_tokens", "7"}, {"hidden", "333"}, {"dtype", dtype}});
}

// Enough rows for several workers.
TEST(Norm, MatchesTheReferenceOnLargeTensors) {
  for (const char* norm : {"rmsnorm", "fused_add_rmsnorm", "layernorm", "rmsnorm_quant"})
    expect_matches_reference(norm, {{"num_tokens", "150"}, {"hidden", "4096"}});
}

// What calls with large outputs do: rows that are aligned to a vector go past the caches, the others do not.
TEST(Norm, StreamingWritesTheSame) {
  constexpr std::int64_t kRows = 3;
  for (cpu::Isa isa : test::isa_levels())
    for (std::int64_t hidden : {64, 70, 203})
      for (Dtype out_dtype : {Dtype::kBf16, Dtype::kE4m3}) {
        const test::ScopedIsa scoped(isa);
        const Tensor input = random_tensor(Dtype::kBf16, {kRows, hidden}, 1),
                     weight = random_tensor(Dtype::kBf16, {hidden}, 2);
        const Tensor gamma = random_tensor(Dtype::kF32, {hidden}, 3);
        for (auto [kernel, factors] :
             {std::pair(*cpu::rmsnorm_rows, &weight), std::pair(*cpu::layernorm_rows, &gamma)}) {
          Tensor out[2] = {Tensor(out_dtype, {kRows, hidden}), Tensor(out_dtype, {kRows, hidden})};
          for (bool stream : {false, true}) {
            op::fill_poison(out[stream]);
            kernel({.input = input.view().data,
                    .weight = factors->view().data,
                    .bias = gamma.as<float>(),
                    .out = out[stream].view().data,
                    .input_stride = hidden,
                    .out_stride = hidden,
                    .hidden = hidden,
                    .dtype = Dtype::kBf16,
                    .out_dtype = out_dtype,
                    .eps = 1e-6f,
                    .stream = stream},
                   0, kRows);
          }
          EXPECT_EQ(std::memcmp(out[0].view().data, out[1].view().data,
                                static_cast<std::size_t>(out[0].view().bytes())),
                    0)
              << cpu::name(isa) << " " << hidden;
        }
      }
}

// Heads of a fused projection, normalised where they lie: [tokens, heads, head_dim] with the pitch of the
// whole.
TEST(Norm, NormalisesTheHeadsOfAFusedTensor) {
  constexpr std::int64_t kTokens = 9, kHeads = 6, kHeadDim = 64;
  Tensor qkv = random_tensor(Dtype::kBf16, {kTokens, 3 * kHeads, kHeadDim}, 3);
  const Tensor before = qkv.clone();
  const Tensor weight = random_tensor(Dtype::kBf16, {kHeadDim}, 4, 1);
  const TensorView q = qkv.view().slice(1, 0, kHeads);
  const auto result = check_call("rmsnorm", RmsNormArgs{.input = q, .weight = weight, .out = q},
                                 [](const RmsNormArgs& args) { rmsnorm(args); });
  EXPECT_TRUE(result.passed) << result.worst;
  EXPECT_EQ(result.elements, kTokens * kHeads * kHeadDim);
  for (std::int64_t token = 0; token < kTokens; ++token)
    for (std::int64_t head = kHeads; head < 3 * kHeads; ++head)
      for (std::int64_t d = 0; d < kHeadDim; ++d)
        ASSERT_EQ(qkv.view().at<Bf16>(token, head, d).bits, before.view().at<Bf16>(token, head, d).bits);
}

// The residual that is stored is rounded, the sum that is normalised is not. The rows alternate 1 + 2^-8,
// which bf16 rounds to 1, and 0.
TEST(Norm, FusedAddNormalisesTheUnroundedSum) {
  constexpr std::int64_t kHidden = 64;
  const auto norm_of = [](double x, double weight) {
    return static_cast<float>(Bf16(static_cast<float>(weight * x / std::sqrt(x * x / 2 + 1))));
  };
  const Tensor weight = random_tensor(Dtype::kBf16, {kHidden}, 2, 8);
  for (cpu::Isa isa : test::isa_levels()) {
    const test::ScopedIsa scoped(isa);
    Tensor input(Dtype::kBf16, {1, kHidden}), residual(Dtype::kBf16, {1, kHidden});
    for (std::int64_t j = 0; j < kHidden; ++j) {
      input.as<Bf16>()[j] = Bf16(j % 2 == 0 ? 0x1p-8f : 1.5f);
      residual.as<Bf16>()[j] = Bf16(j % 2 == 0 ? 1.0f : -1.5f);
    }
    fused_add_rmsnorm({.input = input, .residual = residual, .weight = weight, .eps = 1});
    int distinct = 0;
    for (std::int64_t j = 0; j < kHidden; j += 2) {
      const double w = static_cast<float>(weight.as<Bf16>()[j]);
      EXPECT_EQ(static_cast<float>(residual.as<Bf16>()[j]), 1.0f);
      EXPECT_EQ(static_cast<float>(input.as<Bf16>()[j]), norm_of(1 + 0x1p-8, w));
      distinct += norm_of(1, w) != norm_of(1 + 0x1p-8, w);
    }
    EXPECT_GT(distinct, 0);
  }
}

TEST(Norm, QuantisingDividesByTheScaleAndSaturates) {
  for (cpu::Isa isa : test::isa_levels()) {
    const test::ScopedIsa scoped(isa);
    Tensor input(Dtype::kF32, {1, 2}), weight(Dtype::kF32, {2}), e4m3(Dtype::kE4m3, {1, 2}),
        e5m2(Dtype::kE5m2, {1, 2});
    input.as<float>()[0] = 1;
    input.as<float>()[1] = -1;
    weight.as<float>()[0] = 3;
    weight.as<float>()[1] = 1e6f;
    rmsnorm_quant({.input = input, .weight = weight, .out = e4m3, .scale = 0.25f, .eps = 0});
    rmsnorm_quant({.input = input, .weight = weight, .out = e5m2, .scale = 0.25f, .eps = 0});
    EXPECT_EQ(static_cast<float>(e4m3.as<E4m3>()[0]), 12.0f);
    EXPECT_EQ(static_cast<float>(e4m3.as<E4m3>()[1]), -448.0f);
    EXPECT_EQ(static_cast<float>(e5m2.as<E5m2>()[0]), 12.0f);
    EXPECT_EQ(static_cast<float>(e5m2.as<E5m2>()[1]), -57344.0f);
  }
}

TEST(Norm, LayerNormKeepsAccuracyBesideALargeMean) {
  for (cpu::Isa isa : test::isa_levels()) {
    const test::ScopedIsa scoped(isa);
    const Tensor input = random_tensor(Dtype::kF32, {3, 1000}, 5, 300);
    const Tensor gamma = random_tensor(Dtype::kF32, {1000}, 6), beta = random_tensor(Dtype::kF32, {1000}, 7);
    Tensor out(Dtype::kF32, {3, 1000});
    const auto result =
        check_call("layernorm", LayerNormArgs{.input = input, .gamma = gamma, .beta = beta, .out = out},
                   [](const LayerNormArgs& args) { layernorm(args); });
    EXPECT_TRUE(result.passed) << cpu::name(isa) << ": " << result.worst;
  }
}

// Row 1 holds `special`, rows 0 and 2 do not.
struct SpecialRow {
  static constexpr std::int64_t kHidden = 67;
  Tensor input = random_tensor(Dtype::kF32, {3, kHidden}, 8),
         weight = random_tensor(Dtype::kF32, {kHidden}, 9, 2);
  Tensor out = Tensor(Dtype::kF32, {3, kHidden});
  explicit SpecialRow(float special) { input.view().at<float>(1, 65) = special; }
};

TEST(Norm, NanAndInfStayInTheirRow) {
  for (cpu::Isa isa : test::isa_levels())
    for (float special : {kNan, kInf, -kInf}) {
      const test::ScopedIsa scoped(isa);
      SpecialRow rms(special), layer(special);
      const auto rms_result =
          check_call("rmsnorm", RmsNormArgs{.input = rms.input, .weight = rms.weight, .out = rms.out},
                     [](const RmsNormArgs& args) { rmsnorm(args); });
      EXPECT_TRUE(rms_result.passed) << cpu::name(isa) << " " << special << ": " << rms_result.worst;
      const auto layer_result = check_call(
          "layernorm",
          LayerNormArgs{.input = layer.input, .gamma = layer.weight, .beta = layer.weight, .out = layer.out},
          [](const LayerNormArgs& args) { layernorm(args); });
      EXPECT_TRUE(layer_result.passed) << cpu::name(isa) << " " << special << ": " << layer_result.worst;
      for (std::int64_t j = 0; j < SpecialRow::kHidden; ++j) {
        const bool nan_row = std::isnan(special) || j == 65;
        EXPECT_EQ(std::isnan(rms.out.view().at<float>(1, j)), nan_row);
        if (!nan_row) {
          EXPECT_EQ(rms.out.view().at<float>(1, j), 0.0f);
        }
        EXPECT_TRUE(std::isnan(layer.out.view().at<float>(1, j)));
        EXPECT_TRUE(std::isfinite(rms.out.view().at<float>(0, j)) &&
                    std::isfinite(layer.out.view().at<float>(2, j)));
      }
    }
}

TEST(Norm, QuantisingKeepsNan) {
  for (cpu::Isa isa : test::isa_levels())
    for (Dtype dtype : {Dtype::kE4m3, Dtype::kE5m2}) {
      const test::ScopedIsa scoped(isa);
      SpecialRow row(kNan);
      Tensor out(dtype, {3, SpecialRow::kHidden});
      const auto result =
          check_call("rmsnorm_quant", RmsNormQuantArgs{.input = row.input, .weight = row.weight, .out = out},
                     [](const RmsNormQuantArgs& args) { rmsnorm_quant(args); });
      EXPECT_TRUE(result.passed) << result.worst;
      const auto byte = out.as<std::uint8_t>()[SpecialRow::kHidden + 3] & 0x7f;
      EXPECT_EQ(byte, dtype == Dtype::kE4m3 ? 0x7f : 0x7e);
    }
}

TEST(Norm, WorksOnNoTokens) {
  Tensor x(Dtype::kBf16, {0, 8}), residual(Dtype::kBf16, {0, 8}), w(Dtype::kBf16, {8}), wf(Dtype::kF32, {8}),
      q(Dtype::kE4m3, {0, 8});
  Tensor y(Dtype::kBf16, {0, 8});
  rmsnorm({.input = x, .weight = w, .out = y});
  rmsnorm_quant({.input = x, .weight = w, .out = q});
  fused_add_rmsnorm({.input = x, .residual = residual, .weight = w});
  fused_add_rmsnorm_quant({.input = x, .residual = residual, .weight = w, .out = q});
  layernorm({.input = x, .gamma = wf, .beta = wf, .out = y});
  layernorm_quant({.input = x, .gamma = wf, .beta = wf, .out = q});
}

// Memory beyond the last row is not readable.
TEST(Norm, ReadsNothingBeyondARow) {
  for (cpu::Isa isa : test::isa_levels())
    for (std::int64_t hidden : {1, 5, 19, 47, 130}) {
      const test::ScopedIsa scoped(isa);
      const auto row_bytes = static_cast<std::size_t>(hidden) * 2;
      test::GuardedMemory input(2 * row_bytes), residual(2 * row_bytes), weight(row_bytes), out(row_bytes);
      const TensorView x(input.data(), Dtype::kBf16, {2, hidden}),
          r(residual.data(), Dtype::kBf16, {2, hidden});
      const TensorView w(weight.data(), Dtype::kBf16, {hidden}), y(out.data(), Dtype::kE4m3, {2, hidden});
      rmsnorm({.input = x, .weight = w, .out = x});
      fused_add_rmsnorm({.input = x, .residual = r, .weight = w});
      rmsnorm_quant({.input = x, .weight = w, .out = y});
    }
}

TEST(Norm, AWrongNormFailsTheCheck) {
  const Tensor weights = random_tensor(Dtype::kBf16, {257}, 11), wf = random_tensor(Dtype::kF32, {256}, 12);
  const TensorView weight = weights.view().slice(0, 0, 256);
  const Tensor input = random_tensor(Dtype::kBf16, {4, 256}, 13, 0.5);
  Tensor out(Dtype::kBf16, {4, 256}), quantised(Dtype::kE4m3, {4, 256});
  const auto gemma_forgotten =
      check_call("rmsnorm", RmsNormArgs{.input = input, .weight = weight, .out = out, .gemma = true},
                 [](RmsNormArgs& args) {
                   args.gemma = false;
                   rmsnorm(args);
                 });
  EXPECT_FALSE(gemma_forgotten.passed);
  const auto weight_shifted = check_call("rmsnorm", RmsNormArgs{.input = input, .weight = weight, .out = out},
                                         [&](RmsNormArgs& args) {
                                           args.weight = weights.view().slice(0, 1, 257);
                                           rmsnorm(args);
                                         });
  EXPECT_FALSE(weight_shifted.passed);
  const auto mean_kept = check_call(
      "layernorm", LayerNormArgs{.input = input, .gamma = wf, .beta = wf, .out = out},
      [&](LayerNormArgs& args) { rmsnorm({.input = args.input, .weight = weight, .out = args.out}); });
  EXPECT_FALSE(mean_kept.passed);
  const auto scale_inverted = check_call(
      "rmsnorm_quant", RmsNormQuantArgs{.input = input, .weight = weight, .out = quantised, .scale = 1.25f},
      [](RmsNormQuantArgs& args) {
        args.scale = 0.8f;
        rmsnorm_quant(args);
      });
  EXPECT_FALSE(scale_inverted.passed);
}

TEST(Norm, NamesArgumentExpectationAndFinding) {
  Tensor x(Dtype::kBf16, {2, 8}), w7(Dtype::kBf16, {7}), w(Dtype::kBf16, {8}), y(Dtype::kBf16, {2, 8}),
      q(Dtype::kE4m3, {2, 8});
  EXPECT_THAT(error_message([&] { rmsnorm({.input = x, .weight = w7, .out = y}); }),
              HasSubstr("rmsnorm: weight: expected shape [hidden = 8], got bf16[7]"));
  EXPECT_THAT(error_message([&] { rmsnorm_quant({.input = x, .weight = w, .out = y}); }),
              HasSubstr("rmsnorm_quant: out: expected dtype e4m3 or e5m2, got bf16[2, 8]"));
  EXPECT_THAT(error_message([&] { rmsnorm_quant({.input = x, .weight = w, .out = q, .scale = 0}); }),
              HasSubstr("rmsnorm_quant: scale: expected a value in"));
  EXPECT_THAT(error_message([&] { rmsnorm_quant({.input = x, .weight = w, .out = q, .scale = kNan}); }),
              HasSubstr("rmsnorm_quant: scale: expected a value in"));
  EXPECT_THAT(error_message([&] { fused_add_rmsnorm({.input = x, .residual = x, .weight = w}); }),
              HasSubstr("fused_add_rmsnorm: input: expected memory apart from residual"));
  EXPECT_THAT(error_message([&] { layernorm({.input = x, .gamma = w, .beta = w, .out = y}); }),
              HasSubstr("layernorm: gamma: expected dtype f32, got bf16[8]"));
  EXPECT_THAT(error_message([&] { rmsnorm({.input = x, .weight = w, .out = y, .eps = -1}); }),
              HasSubstr("rmsnorm: eps: expected a value in"));
  EXPECT_THAT(error_message([&] {
                rmsnorm({.input = x.view().permute({1, 0}), .weight = w, .out = y});
              }),
              HasSubstr("rmsnorm: input: expected stride 1 on the innermost axis"));
}

}  // namespace
}  // namespace strobe
