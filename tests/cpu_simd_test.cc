// cpu/simd.h at every ISA level of this machine: conversions against strobe/dtype.h over every bit pattern,
// functions against long double, tails against an unreadable page.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "cpu_simd_test_level.h"

namespace strobe::cpu {
namespace {

constexpr Dtype kFloats[] = {Dtype::kF32, Dtype::kF16, Dtype::kBf16, Dtype::kE4m3, Dtype::kE5m2};
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

template <class Function>
void with_type(Dtype dtype, Function function) {
  switch (dtype) {
    case Dtype::kF32:
      return function(float{});
    case Dtype::kF16:
      return function(F16{});
    case Dtype::kBf16:
      return function(Bf16{});
    case Dtype::kE4m3:
      return function(E4m3{});
    default:
      return function(E5m2{});
  }
}

bool same(float a, float b) {
  return (std::isnan(a) && std::isnan(b)) ||
         std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
}

// Stored values are compared by bits; NaN only as NaN, with its sign.
template <class T>
bool same_stored(T a, T b) {
  const float x = static_cast<float>(a), y = static_cast<float>(b);
  return same(x, y) && std::signbit(x) == std::signbit(y);
}

class SimdTest : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    if (!supported(static_cast<Isa>(level()))) GTEST_SKIP() << "this machine lacks the level";
  }
  int level() const { return GetParam(); }
  int lanes() const { return simd_test_lanes.level[level()](); }
};

// Values around every rounding boundary of the small formats, all exponents, and specials.
std::vector<float> conversion_inputs() {
  std::vector<float> values;
  for (std::uint32_t top = 0; top < 0x10000; ++top)
    for (std::uint32_t low : {0u, 1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu})
      values.push_back(std::bit_cast<float>(top << 16 | low));
  std::mt19937 random(1);
  for (int i = 0; i < (1 << 18); ++i)
    values.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(random())));
  for (int step = 1; step < (1 << 14); ++step)  // ties and their neighbours on the f16 grid
    for (float scale : {0x1p-25f, 0x1p-10f, 0x1p4f}) {
      const float tie = static_cast<float>(step) * scale;
      values.insert(values.end(), {tie, std::nextafter(tie, kInf), -std::nextafter(tie, 0.0f)});
    }
  while (values.size() % 32 != 0) values.push_back(0.0f);
  return values;
}

TEST_P(SimdTest, LoadWidensEveryBitPattern) {
  for (Dtype dtype : {Dtype::kF16, Dtype::kBf16, Dtype::kE4m3, Dtype::kE5m2}) {
    with_type(dtype, [&](auto tag) {
      using T = decltype(tag);
      using Stored = std::conditional_t<sizeof(T) == 1, std::uint8_t, std::uint16_t>;
      constexpr std::size_t kPatterns = std::size_t{1} << (8 * sizeof(Stored));
      std::vector<Stored> in(kPatterns);
      for (std::size_t i = 0; i < kPatterns; ++i) in[i] = static_cast<Stored>(i);
      for (bool row : {false, true}) {
        std::vector<float> out(kPatterns);
        simd_test_load.level[level()](dtype, row, in.data(), out.data(), kPatterns);
        for (std::size_t i = 0; i < kPatterns; ++i) {
          T stored;
          std::memcpy(static_cast<void*>(&stored), &in[i], sizeof(Stored));
          ASSERT_TRUE(same(out[i], static_cast<float>(stored)))
              << name(dtype) << " pattern " << i << ": " << out[i] << " row " << row;
        }
      }
    });
  }
}

TEST_P(SimdTest, StoreRoundsAsTheScalarConversion) {
  const std::vector<float> in = conversion_inputs();
  for (Dtype dtype : kFloats)
    for (SimdStore how : {SimdStore::kFull, SimdStore::kStream, SimdStore::kRow})
      with_type(dtype, [&](auto tag) {
        using T = decltype(tag);
        std::vector<T> storage(in.size() + 64);
        T* out = reinterpret_cast<T*>((reinterpret_cast<std::uintptr_t>(storage.data()) + 63) &
                                      ~std::uintptr_t{63});
        simd_test_store.level[level()](dtype, how, in.data(), out, in.size());
        for (std::size_t i = 0; i < in.size(); ++i) {
          // Packing two vectors of bf16 in one instruction takes subnormals for 0.
          if (how == SimdStore::kRow && dtype == Dtype::kBf16 && std::fpclassify(in[i]) == FP_SUBNORMAL &&
              float(out[i]) == 0)
            continue;
          ASSERT_TRUE(same_stored(out[i], T(in[i])))
              << name(dtype) << " of " << in[i] << ": " << float(out[i]);
        }
      });
}

// A buffer whose end is followed by a page that faults.
class Guarded {
 public:
  Guarded() {
    base_ = static_cast<char*>(
        mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(base_ + kPage, kPage, PROT_NONE);
  }
  ~Guarded() { munmap(base_, 2 * kPage); }
  char* last(std::size_t bytes) { return base_ + kPage - bytes; }

 private:
  static constexpr std::size_t kPage = 65536;
  char* base_;
};

TEST_P(SimdTest, TailsTouchOnlyTheirElements) {
  Guarded guarded;
  std::mt19937 random(2);
  for (Dtype dtype : kFloats)
    for (int n = 0; n <= lanes(); ++n)
      with_type(dtype, [&](auto tag) {
        using T = decltype(tag);
        float values[16], loaded[16];
        for (float& value : values) value = std::uniform_real_distribution<float>(-4, 4)(random);
        T* end = reinterpret_cast<T*>(guarded.last(n * sizeof(T)));
        std::memset(guarded.last(64 + n * sizeof(T)), 0x5a, 64);
        simd_test_store_n.level[level()](dtype, values, end, n);
        for (int i = 0; i < n; ++i)
          ASSERT_TRUE(same_stored(end[i], T(values[i]))) << name(dtype) << " n " << n;
        for (int i = 1; i <= 64; ++i)
          ASSERT_EQ(guarded.last(n * sizeof(T) + i)[0], 0x5a) << "written before the start";
        simd_test_load_n.level[level()](dtype, end, loaded, n);
        for (int i = 0; i < lanes(); ++i)
          ASSERT_TRUE(same(loaded[i], i < n ? static_cast<float>(end[i]) : 0.0f))
              << name(dtype) << " n " << n;
      });
}

// A store of n elements leaves element n alone.
TEST_P(SimdTest, TailStoresKeepWhatFollows) {
  for (Dtype dtype : kFloats)
    for (int n = 0; n <= lanes(); ++n)
      with_type(dtype, [&](auto tag) {
        using T = decltype(tag);
        const float zeros[16] = {};
        unsigned char memory[17 * sizeof(T)];
        std::memset(memory, 0x5a, sizeof memory);
        simd_test_store_n.level[level()](dtype, zeros, memory, n);
        for (std::size_t i = 0; i < sizeof memory; ++i)
          ASSERT_EQ(memory[i], i < n * sizeof(T) ? 0 : 0x5a) << name(dtype) << " n " << n;
      });
}

struct Accuracy {
  SimdFunction function;
  long double (*exact)(long double);
  float low, high;
  double relative, absolute;  // |error| <= relative * |exact| + absolute
};

TEST_P(SimdTest, FunctionsAreAccurate) {
  const Accuracy cases[] = {
      {SimdFunction::kExp2, [](long double x) { return std::exp2(x); }, -125, 127.99f, 2e-7, 0},
      {SimdFunction::kExp2, [](long double x) { return std::exp2(x); }, -1, 1, 2e-7, 0},
      {SimdFunction::kExp2For16Bits, [](long double x) { return std::exp2(x); }, -125, 1, 8e-6, 0},
      {SimdFunction::kTanh, [](long double x) { return std::tanh(x); }, -12, 12, 4e-7, 0},
      {SimdFunction::kTanh, [](long double x) { return std::tanh(x); }, -1e-3f, 1e-3f, 4e-7, 0},
      {SimdFunction::kLog2, [](long double x) { return std::log2(x); }, 0.5f, 2, 0, 1.2e-7},
      {SimdFunction::kLog2, [](long double x) { return std::log2(x); }, 2, 1e30f, 2e-7, 0},
      {SimdFunction::kLog2, [](long double x) { return std::log2(x); }, 2e-38f, 0.5f, 2e-7, 0},
      {SimdFunction::kErfcOfPositive, [](long double x) { return std::erfc(x); }, 0, 4, 5e-6, 0},
      {SimdFunction::kErfcOfPositive, [](long double x) { return std::erfc(x); }, 4, 1e30f, 0, 1e-13},
      {SimdFunction::kErf, [](long double x) { return std::erf(x); }, -6, 6, 0, 2e-7},
      {SimdFunction::kNormalTailFor16Bits, [](long double x) { return std::erfc(x * std::sqrt(0.5L)) / 2; },
       0, 7, 8e-5, 0},
      {SimdFunction::kNormalTailFor16Bits, [](long double x) { return std::erfc(x * std::sqrt(0.5L)) / 2; },
       7, 1e30f, 0, 1e-12},
      {SimdFunction::kSqrt, [](long double x) { return std::sqrt(x); }, 0, 1e30f, 6e-8, 0},
      {SimdFunction::kRsqrt, [](long double x) { return 1 / std::sqrt(x); }, 1e-6f, 1e6f, 1.5e-7, 0},
      {SimdFunction::kRoundEven, [](long double x) { return std::nearbyint(x); }, -4e6f, 4e6f, 0, 0},
      {SimdFunction::kRoundEven, [](long double x) { return std::nearbyint(x); }, -8, 8, 0, 0},
  };
  constexpr int kCount = 1 << 16;
  std::mt19937 random(3);
  for (const Accuracy& c : cases) {
    std::vector<float> in(kCount), out(kCount);
    for (float& x : in) x = std::uniform_real_distribution<float>(c.low, c.high)(random);
    for (int i = 0; i < 64; ++i) in[i] = c.low + (c.high - c.low) * static_cast<float>(i) / 64;
    simd_test_map.level[level()](c.function, in.data(), out.data(), kCount);
    for (int i = 0; i < kCount; ++i) {
      const double exact = static_cast<double>(c.exact(in[i]));
      ASSERT_LE(std::abs(out[i] - exact), c.relative * std::abs(exact) + c.absolute)
          << "function " << static_cast<int>(c.function) << " at " << in[i] << ": " << out[i] << " for "
          << exact;
    }
  }
}

TEST_P(SimdTest, FunctionsAtTheEdges) {
  struct Edge {
    SimdFunction function;
    float in, out;
  };
  const Edge edges[] = {
      {SimdFunction::kExp2, -kInf, 0},
      {SimdFunction::kExp2, kInf, kInf},
      {SimdFunction::kExp2, kNan, kNan},
      {SimdFunction::kExp2, 0, 1},
      {SimdFunction::kExp2, 127, 0x1p127f},
      {SimdFunction::kExp2, 128, kInf},
      {SimdFunction::kExp2, 1e30f, kInf},
      {SimdFunction::kExp2, -1e30f, 0},
      {SimdFunction::kExp2, -10, 0x1p-10f},
      {SimdFunction::kExp2For16Bits, -kInf, 0},
      {SimdFunction::kExp2For16Bits, 0, 1},
      {SimdFunction::kExp2For16Bits, kNan, kNan},
      {SimdFunction::kTanh, kInf, 1},
      {SimdFunction::kTanh, -kInf, -1},
      {SimdFunction::kTanh, kNan, kNan},
      {SimdFunction::kTanh, -0.0f, -0.0f},
      {SimdFunction::kLog2, 1, 0},
      {SimdFunction::kLog2, 0x1p-126f, -126},
      {SimdFunction::kErfcOfPositive, 0, 1},
      {SimdFunction::kErfcOfPositive, kInf, 0},
      {SimdFunction::kErfcOfPositive, kNan, kNan},
      {SimdFunction::kNormalTailFor16Bits, 0, 0.5f},
      {SimdFunction::kNormalTailFor16Bits, kInf, 0},
      {SimdFunction::kNormalTailFor16Bits, kNan, kNan},
      {SimdFunction::kErf, kInf, 1},
      {SimdFunction::kErf, -kInf, -1},
      {SimdFunction::kErf, kNan, kNan},
      {SimdFunction::kErf, 0, 0},
      {SimdFunction::kSqrt, -1, kNan},
      {SimdFunction::kRsqrt, 0, kInf},
  };
  for (const Edge& edge : edges) {
    std::vector<float> in(16, edge.in), out(16);
    simd_test_map.level[level()](edge.function, in.data(), out.data(), 16);
    for (int i = 0; i < lanes(); ++i)
      EXPECT_TRUE(same(out[i], edge.out))
          << "function " << static_cast<int>(edge.function) << " at " << edge.in << ": " << out[i];
  }
}

// The documented rule: the second argument wins when either is NaN.
TEST_P(SimdTest, MinMaxWithNan) {
  const float pairs[][2] = {{1, 2}, {2, 1}, {kNan, 1}, {1, kNan}, {-kInf, 3}, {kInf, -3}};
  for (const auto& [x, y] : pairs) {
    std::vector<float> a(16, x), b(16, y), out(48);
    simd_test_compare.level[level()](a.data(), b.data(), out.data());
    const bool ordered = !std::isnan(x) && !std::isnan(y);
    EXPECT_TRUE(same(out[0], ordered ? std::min(x, y) : y));
    EXPECT_TRUE(same(out[lanes()], ordered ? std::max(x, y) : y));
    EXPECT_TRUE(same(out[2 * lanes()], x < y ? x : y));
  }
}

TEST_P(SimdTest, Reductions) {
  for (int hot = 0; hot < lanes(); ++hot) {
    std::vector<float> in(16);
    float expected = 0;
    for (int i = 0; i < lanes(); ++i) expected += in[i] = i == hot ? 100.0f : -1.0f - static_cast<float>(i);
    float sum, maximum;
    bool positive;
    simd_test_reduce.level[level()](in.data(), &sum, &maximum, &positive);
    EXPECT_EQ(sum, expected);
    EXPECT_EQ(maximum, 100.0f);
    EXPECT_TRUE(positive);
    in[hot] = -2;
    simd_test_reduce.level[level()](in.data(), &sum, &maximum, &positive);
    EXPECT_FALSE(positive);
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, SimdTest, testing::Range(0, kIsaCount),
                         [](const auto& test) { return std::string(name(static_cast<Isa>(test.param))); });

}  // namespace
}  // namespace strobe::cpu
