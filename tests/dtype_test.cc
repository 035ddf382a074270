#include "strobe/dtype.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "op/random.h"
#include "support/sweep.h"

namespace strobe {
namespace {

// The nearest value of a format by search over all its finite values; on a tie the one with the even last
// bit.
template <class Format>
float nearest(float x, unsigned patterns) {
  float best = 0;
  unsigned best_bits = 0;
  double best_error = std::numeric_limits<double>::infinity();
  for (unsigned bits = 0; bits < patterns; ++bits) {
    Format candidate;
    candidate.bits = static_cast<decltype(candidate.bits)>(bits);
    const auto value = static_cast<float>(candidate);
    if (!std::isfinite(value) || std::signbit(value) != std::signbit(x)) continue;
    const double error = std::abs(static_cast<double>(value) - static_cast<double>(x));
    if (error < best_error || (error == best_error && bits % 2 == 0 && best_bits % 2 == 1)) {
      best = value;
      best_bits = bits;
      best_error = error;
    }
  }
  return best;
}

template <class Format>
void expect_rounds_to_nearest(unsigned patterns, float largest) {
  op::Random random(1);
  for (int i = 0; i < 2000; ++i) {
    const auto x =
        static_cast<float>(std::ldexp(random.uniform() * 2 - 1, static_cast<int>(random.integer(-30, 16))));
    if (std::abs(x) > largest) continue;
    EXPECT_EQ(static_cast<float>(Format(x)), nearest<Format>(x, patterns)) << x;
  }
}

TEST(Dtype, Fp8RoundsToTheNearestTiesToEven) {
  expect_rounds_to_nearest<E4m3>(256, 448);
  expect_rounds_to_nearest<E5m2>(256, 57344);
}

TEST(Dtype, Fp16RoundsToTheNearestTiesToEven) {
  EXPECT_EQ(F16(1.0f + 0x1p-11f).bits, 0x3c00);
  EXPECT_EQ(F16(1.0f + 3 * 0x1p-11f).bits, 0x3c02);
  EXPECT_EQ(F16(65504.0f).bits, 0x7bff);
  EXPECT_EQ(F16(65519.0f).bits, 0x7bff);
  EXPECT_EQ(F16(65520.0f).bits, 0x7c00);
  EXPECT_EQ(F16(0x1p-24f).bits, 1);
  EXPECT_EQ(F16(0x1p-25f).bits, 0);
  EXPECT_EQ(F16(1.5f * 0x1p-25f).bits, 1);
}

TEST(Dtype, EveryPatternSurvivesARoundTrip) {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    F16 half;
    half.bits = static_cast<std::uint16_t>(bits);
    Bf16 brain;
    brain.bits = static_cast<std::uint16_t>(bits);
    if (!std::isnan(static_cast<float>(half))) {
      EXPECT_EQ(F16(static_cast<float>(half)).bits, bits);
    }
    if (!std::isnan(static_cast<float>(brain))) {
      EXPECT_EQ(Bf16(static_cast<float>(brain)).bits, bits);
    }
  }
  for (unsigned bits = 0; bits < 256; ++bits) {
    E4m3 a;
    a.bits = static_cast<std::uint8_t>(bits);
    E5m2 b;
    b.bits = static_cast<std::uint8_t>(bits);
    if (!std::isnan(static_cast<float>(a))) {
      EXPECT_EQ(E4m3(static_cast<float>(a)).bits, bits);
    }
    if (!std::isnan(static_cast<float>(b))) {
      EXPECT_EQ(E5m2(static_cast<float>(b)).bits, bits);
    }
  }
}

TEST(Dtype, KnownValues) {
  E4m3 a;
  a.bits = 0x7e;
  EXPECT_EQ(static_cast<float>(a), 448.0f);
  a.bits = 0x01;
  EXPECT_EQ(static_cast<float>(a), 0x1p-9f);
  E5m2 b;
  b.bits = 0x7b;
  EXPECT_EQ(static_cast<float>(b), 57344.0f);
  EXPECT_EQ(static_cast<float>(Bf16(3.14159265f)), 3.140625f);
}

TEST(Dtype, OverflowNanAndInfinity) {
  constexpr float kInf = std::numeric_limits<float>::infinity(),
                  kNan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(static_cast<float>(E4m3(1e9f)), 448.0f);
  EXPECT_EQ(static_cast<float>(E4m3(-kInf)), -448.0f);
  EXPECT_EQ(static_cast<float>(E5m2(1e9f)), 57344.0f);
  EXPECT_EQ(static_cast<float>(E5m2(kInf)), kInf);
  EXPECT_EQ(static_cast<float>(F16(1e9f)), kInf);
  EXPECT_TRUE(std::isnan(static_cast<float>(E4m3(kNan))));
  EXPECT_TRUE(std::isnan(static_cast<float>(E5m2(kNan))));
  EXPECT_TRUE(std::isnan(static_cast<float>(F16(kNan))));
  EXPECT_TRUE(std::isnan(static_cast<float>(Bf16(kNan))));
}

TEST(Dtype, NamesParse) {
  for (int i = 0; i < kDtypeCount; ++i)
    EXPECT_EQ(parse_dtype(name(static_cast<Dtype>(i))), static_cast<Dtype>(i));
  EXPECT_EQ(parse_dtype("float8_e4m3fn"), Dtype::kE4m3);
  EXPECT_THAT(test::error_message([] { parse_dtype("fp4"); }),
              testing::HasSubstr("expected one of f32, f16, bf16, e4m3"));
}

}  // namespace
}  // namespace strobe
