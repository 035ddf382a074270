#include "strobe/activation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "cpu/activation_kernel.h"
#include "op/random.h"
#include "reference/activation.h"
#include "support/call_check.h"
#include "support/layouts.h"
#include "support/sweep.h"

namespace strobe {
namespace {

using test::check_call;
using test::error_message;
using test::expect_matches_reference;
using test::expect_strided_matches_reference;
using testing::HasSubstr;

using Function = void (*)(const ActivationArgs&, const Launch&);
struct Activation {
  const char* name;
  Function run;
};
constexpr Activation kActivations[] = {
    {"silu_and_mul", silu_and_mul}, {"gelu_and_mul", gelu_and_mul}, {"gelu_tanh_and_mul", gelu_tanh_and_mul}};
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Rows whose first halves hold `x` and whose second halves hold 1.
Tensor gated(const std::vector<float>& x) {
  const auto hidden = static_cast<std::int64_t>(x.size());
  Tensor input(Dtype::kF32, {1, 2 * hidden});
  for (std::size_t j = 0; j < x.size(); ++j) {
    input.as<float>()[j] = x[j];
    input.as<float>()[x.size() + j] = 1;
  }
  return input;
}

TEST(Activation, MatchesTheReferenceOverDtypesAndTails) {
  for (const Activation& activation : kActivations)
    for (const char* dtype : {"f32", "f16", "bf16"})
      for (const char* hidden :
           {"1", "3", "4", "7", "8", "15", "16", "17", "31", "33", "64", "65", "100", "14336"})
        expect_matches_reference(activation.name,
                                 {{"num_tokens", "4"}, {"hidden", hidden}, {"dtype", dtype}});
}

TEST(Activation, MatchesTheReferenceOnStridedViews) {
  for (const Activation& activation : kActivations)
    for (const char* num_tokens : {"1", "5", "6"})  // 6 becomes 3 x 2, its axes exchanged in memory
      for (const char* hidden : {"7", "128"})
        expect_strided_matches_reference(activation.name, {{"num_tokens", num_tokens}, {"hidden", hidden}});
}

// Enough rows for several workers.
TEST(Activation, MatchesTheReferenceOnLargeTensors) {
  for (const Activation& activation : kActivations)
    expect_matches_reference(activation.name, {{"num_tokens", "60"}, {"hidden", "8192"}});
}

// What calls with large outputs do: rows that are aligned to a vector go past the caches, the others do not.
TEST(Activation, StreamingWritesTheSame) {
  constexpr std::int64_t kRows = 3;
  for (cpu::Isa isa : test::isa_levels())
    for (std::int64_t hidden : {64, 70, 203}) {
      const test::ScopedIsa scoped(isa);
      Tensor input(Dtype::kBf16, {kRows, 2 * hidden});
      op::Random random(1);
      op::fill_normal(input, random);
      Tensor out[2] = {Tensor(Dtype::kBf16, {kRows, hidden}), Tensor(Dtype::kBf16, {kRows, hidden})};
      for (bool stream : {false, true}) {
        op::fill_poison(out[stream]);
        (*cpu::silu_and_mul_rows)({.input = input.view().data,
                                   .out = out[stream].view().data,
                                   .input_stride = 2 * hidden,
                                   .out_stride = hidden,
                                   .hidden = hidden,
                                   .dtype = Dtype::kBf16,
                                   .stream = stream},
                                  0, kRows);
      }
      EXPECT_EQ(std::memcmp(out[0].view().data, out[1].view().data,
                            static_cast<std::size_t>(out[0].view().bytes())),
                0)
          << cpu::name(isa) << " " << hidden;
    }
}

// Where 1 + erf and 1 + tanh cancel.
TEST(Activation, MatchesTheReferenceAtNegativeArguments) {
  std::vector<float> x;
  for (int i = 0; i < 2000; ++i) x.push_back(-6.0f + 0.003f * static_cast<float>(i));
  const Tensor input = gated(x);
  for (cpu::Isa isa : test::isa_levels()) {
    const test::ScopedIsa scoped(isa);
    for (const Activation& activation : kActivations) {
      Tensor out(Dtype::kF32, {1, 2000});
      const auto result = check_call(activation.name, ActivationArgs{.input = input, .out = out},
                                     [&](const ActivationArgs& args) { activation.run(args, {}); });
      EXPECT_TRUE(result.passed) << activation.name << " at " << cpu::name(isa) << ": " << result.worst;
    }
  }
}

// At every bf16: the nearest result, or the other neighbour where the exact value lies in the middle. Held
// absolutely is what is too small to matter: gelu's tail, gelu_tanh's where 1 + tanh cancels in FP64 itself,
// and what lies below 1e-35.
TEST(Activation, EveryBf16IsRoundedToNearest) {
  constexpr std::int64_t kRows = 64, kHidden = 1024;
  Tensor input(Dtype::kBf16, {kRows, 2 * kHidden});
  std::vector<Bf16> x(kRows * kHidden);
  for (std::int64_t row = 0; row < kRows; ++row)
    for (std::int64_t j = 0; j < kHidden; ++j) {
      const auto bits = static_cast<std::uint16_t>(row * kHidden + j);
      Bf16& value = x[static_cast<std::size_t>(bits)];
      std::memcpy(static_cast<void*>(&value), &bits, sizeof bits);
      input.as<Bf16>()[row * 2 * kHidden + j] = value;
      input.as<Bf16>()[row * 2 * kHidden + kHidden + j] = Bf16(1.0f);
    }
  double (*const exact[])(double) = {reference::silu, reference::gelu, reference::gelu_tanh};
  const double tails[] = {1e-35, 3e-7, 1e-15};
  for (cpu::Isa isa : test::isa_levels())
    for (std::size_t function = 0; function < std::size(kActivations); ++function) {
      const test::ScopedIsa scoped(isa);
      Tensor out(Dtype::kBf16, {kRows, kHidden});
      op::fill_poison(out);
      kActivations[function].run({.input = input, .out = out}, {});
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double expected = exact[function](static_cast<double>(float(x[i])));
        const auto got = static_cast<double>(float(out.as<Bf16>()[i]));
        if (std::isnan(expected) || std::isinf(expected)) {
          EXPECT_TRUE(std::isnan(expected) ? std::isnan(got) : got == expected) << float(x[i]);
          continue;
        }
        const double step = std::ldexp(1.0, std::max(std::ilogb(expected), -126) - 7);
        const double small = float(x[i]) < 0 ? tails[function] : 1e-35;
        ASSERT_LE(std::abs(got - expected), 0.51 * step + small)
            << kActivations[function].name << " at " << cpu::name(isa) << " of " << float(x[i]) << ": " << got
            << " for " << expected;
      }
    }
}

TEST(Activation, SpecialValuesFollowTheRule) {
  const Tensor input = gated({kNan, kInf, -kInf, 0.0f, -0.0f, 3e38f, -3e38f, 1e-40f, -100.0f, 30.0f});
  for (cpu::Isa isa : test::isa_levels()) {
    const test::ScopedIsa scoped(isa);
    for (const Activation& activation : kActivations) {
      Tensor out(Dtype::kF32, {1, 10});
      activation.run({.input = input, .out = out}, {});
      const float* y = out.as<float>();
      EXPECT_TRUE(std::isnan(y[0])) << activation.name;
      EXPECT_EQ(y[1], kInf) << activation.name;
      EXPECT_TRUE(std::isnan(y[2])) << activation.name << " " << y[2];
      EXPECT_EQ(y[3], 0.0f);
      EXPECT_EQ(y[4], 0.0f);
      EXPECT_EQ(y[5], 3e38f) << activation.name;
      EXPECT_EQ(y[6], 0.0f) << activation.name;
      EXPECT_NEAR(y[7], 0.0f, 1e-40f);
      EXPECT_NEAR(y[8], 0.0f, 1e-30f) << activation.name;
      EXPECT_EQ(y[9], 30.0f) << activation.name;
    }
  }
}

TEST(Activation, NanOfAFactorStaysAtItsElement) {
  Tensor input = gated(std::vector<float>(40, 1.0f)), out(Dtype::kF32, {1, 40});
  input.as<float>()[40 + 37] = kNan;
  silu_and_mul({.input = input, .out = out});
  for (int j = 0; j < 40; ++j) EXPECT_EQ(std::isnan(out.as<float>()[j]), j == 37);
}

TEST(Activation, WorksOnNoTokens) {
  Tensor input(Dtype::kF16, {0, 16}), out(Dtype::kF16, {0, 8});
  for (const Activation& activation : kActivations) activation.run({.input = input, .out = out}, {});
}

TEST(Activation, ReadsNothingBeyondARow) {
  for (cpu::Isa isa : test::isa_levels())
    for (std::int64_t hidden : {1, 5, 19, 47}) {
      const test::ScopedIsa scoped(isa);
      test::GuardedMemory input(static_cast<std::size_t>(8 * hidden)),
          out(static_cast<std::size_t>(4 * hidden));
      const TensorView x(input.data(), Dtype::kBf16, {2, 2 * hidden}),
          y(out.data(), Dtype::kBf16, {2, hidden});
      for (const Activation& activation : kActivations) activation.run({.input = x, .out = y}, {});
    }
}

TEST(Activation, AWrongActivationFailsTheCheck) {
  Tensor input(Dtype::kBf16, {4, 128}), swapped(Dtype::kBf16, {4, 128}), out(Dtype::kBf16, {4, 64});
  op::Random random(1);
  op::fill_normal(input, random);
  for (std::int64_t row = 0; row < 4; ++row)
    for (std::int64_t j = 0; j < 128; ++j)
      swapped.view().at<Bf16>(row, j) = input.view().at<Bf16>(row, (j + 64) % 128);
  const ActivationArgs args{.input = input, .out = out};
  for (const Activation& activation : kActivations) {
    const auto halves_swapped = check_call(activation.name, args, [&](ActivationArgs& changed) {
      changed.input = swapped;
      activation.run(changed, {});
    });
    EXPECT_FALSE(halves_swapped.passed) << activation.name;
  }
  EXPECT_FALSE(check_call("gelu_and_mul", args, [](const ActivationArgs& a) { silu_and_mul(a); }).passed);
  EXPECT_FALSE(
      check_call("silu_and_mul", args, [](const ActivationArgs& a) { gelu_tanh_and_mul(a); }).passed);
}

// The two forms of gelu differ by up to 5e-4: f32 tells them apart.
TEST(Activation, TheFormsOfGeluAreTwoFunctions) {
  std::vector<float> x;
  for (int i = 0; i < 64; ++i) x.push_back(-3.0f + 0.1f * static_cast<float>(i));
  const Tensor input = gated(x);
  Tensor out(Dtype::kF32, {1, 64});
  const ActivationArgs args{.input = input, .out = out};
  EXPECT_FALSE(
      check_call("gelu_and_mul", args, [](const ActivationArgs& a) { gelu_tanh_and_mul(a); }).passed);
  EXPECT_FALSE(
      check_call("gelu_tanh_and_mul", args, [](const ActivationArgs& a) { gelu_and_mul(a); }).passed);
}

TEST(Activation, NamesArgumentExpectationAndFinding) {
  Tensor input(Dtype::kBf16, {2, 16}), odd(Dtype::kBf16, {2, 15}), out(Dtype::kBf16, {2, 8}),
      wide(Dtype::kBf16, {2, 16});
  EXPECT_THAT(
      error_message([&] { silu_and_mul({.input = odd, .out = out}); }),
      HasSubstr("silu_and_mul: input: expected shape [num_tokens... = 2, 2*hidden], got bf16[2, 15]"));
  EXPECT_THAT(
      error_message([&] { gelu_and_mul({.input = input, .out = wide}); }),
      HasSubstr("gelu_and_mul: out: expected shape [num_tokens... = 2, hidden = 8], got bf16[2, 16]"));
  EXPECT_THAT(error_message([&] { gelu_tanh_and_mul({.input = input, .out = input.view().slice(1, 0, 8)}); }),
              HasSubstr("gelu_tanh_and_mul: out: expected memory apart from input"));
}

}  // namespace
}  // namespace strobe
