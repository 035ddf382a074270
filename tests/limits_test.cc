// The loops behind measure_limits, what it refuses, and the cache sizes that its memory loops rely on. Rates
// are compared only with each other and by wide margins: other work may share the machine.
#include "bench/limits.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "bench/limits_kernels.h"
#include "cpu/cache_info.h"
#include "strobe/error.h"

namespace strobe::bench {
namespace {

using cpu::Isa;

constexpr std::size_t kSmall = 8 << 20;

std::vector<Isa> supported_levels() {
  std::vector<Isa> levels;
  for (int level = 0; level < cpu::kIsaCount; ++level)
    if (cpu::supported(static_cast<Isa>(level))) levels.push_back(static_cast<Isa>(level));
  return levels;
}

template <class Kernel>
auto at_level(const Kernel& kernel, Isa isa) {
  return kernel.level[static_cast<std::size_t>(isa)];
}

TEST(LimitsKernels, OperationsGrowWithIterationsAndVectorWidth) {
  for (const Isa isa : supported_levels()) {
    const auto multiply_add = at_level(cpu::limits_multiply_add, isa);
    const auto bf16_dot = at_level(cpu::limits_bf16_dot, isa);
    EXPECT_GE(multiply_add(1), 2 * 4 * 12) << name(isa);  // at least 12 chains of 4 lanes
    EXPECT_EQ(multiply_add(10), 10 * multiply_add(1)) << name(isa);
    EXPECT_EQ(bf16_dot(10), 10 * bf16_dot(1)) << name(isa);
    const bool has_dot = name(isa).find("bf16") != std::string_view::npos;
    EXPECT_EQ(bf16_dot(1), has_dot ? 2 * multiply_add(1) : 0) << name(isa);
  }
}

TEST(LimitsKernels, CopyCopiesExactlyTheBytes) {
  constexpr std::size_t kBytes = 4 * cpu::kLimitsBlock;
  auto* memory = static_cast<unsigned char*>(std::aligned_alloc(64, 2 * kBytes + 64));
  unsigned char* target = memory + kBytes;
  for (const Isa isa : supported_levels()) {
    for (std::size_t i = 0; i < kBytes; ++i) memory[i] = static_cast<unsigned char>(i * 7 + i / 251);
    std::fill(target, target + kBytes + 64, static_cast<unsigned char>(0xee));
    at_level(cpu::limits_copy, isa)(target, memory, kBytes);
    EXPECT_TRUE(std::equal(memory, memory + kBytes, target)) << name(isa);
    for (int i = 0; i < 64; ++i) ASSERT_EQ(target[kBytes + static_cast<std::size_t>(i)], 0xee) << name(isa);
  }
  std::free(memory);
}

TEST(Limits, RatesOfEveryLevel) {
  for (const Isa isa : supported_levels()) {
    const Limits limits = measure_limits(isa, 1, {.seconds = 0.1, .bytes_per_thread = kSmall});
    EXPECT_EQ(limits.isa, name(isa));
    EXPECT_EQ(limits.threads, 1);
    EXPECT_GT(limits.seconds, 0.1);
    for (const auto rate : {&LimitRates::dram_read_gbs, &LimitRates::copy_gbs, &LimitRates::fma_gflops}) {
      EXPECT_GT(limits.median.*rate, 0.01) << name(isa);
      EXPECT_GE(limits.max.*rate, limits.median.*rate) << name(isa);
      EXPECT_LT(limits.max.*rate, 100'000) << name(isa);
    }
    EXPECT_EQ(limits.max.bf16_dot_gflops > 0, at_level(cpu::limits_bf16_dot, isa)(1) > 0) << name(isa);
  }
}

TEST(LimitsKernels, WiderVectorsDoMoreInAStep) {
#if defined(__x86_64__)
  if (!cpu::supported(Isa::kAvx2)) GTEST_SKIP() << "no AVX2";
  EXPECT_EQ(at_level(cpu::limits_multiply_add, Isa::kAvx2)(1),
            2 * at_level(cpu::limits_multiply_add, Isa::kPortable)(1));
#else
  GTEST_SKIP() << "one vector width";
#endif
}

TEST(Limits, MeasuresOnlyWhatIsAsked) {
  const Limits memory =
      measure_limits(Isa::kPortable, 2, {.seconds = 0.05, .compute = false, .bytes_per_thread = kSmall});
  EXPECT_GT(memory.max.dram_read_gbs, 0);
  EXPECT_EQ(memory.max.fma_gflops, 0);
  const Limits compute = measure_limits(Isa::kPortable, 2, {.seconds = 0.05, .memory = false});
  EXPECT_EQ(compute.max.dram_read_gbs, 0);
  EXPECT_EQ(compute.max.copy_gbs, 0);
  EXPECT_GT(compute.max.fma_gflops, 0);
}

TEST(Limits, MoreThreadsThanCpus) {
  const Limits limits = measure_limits(Isa::kPortable, 9, {.seconds = 0.05, .bytes_per_thread = kSmall});
  EXPECT_GT(limits.max.dram_read_gbs, 0);
  EXPECT_EQ(limits.threads, 9);
}

TEST(Limits, RefusesBadArguments) {
  EXPECT_THROW(measure_limits(Isa::kPortable, 0), Error);
  EXPECT_THROW(measure_limits(Isa::kPortable, 1025), Error);
  EXPECT_THROW(measure_limits(Isa::kPortable, 1, {.seconds = 0}), Error);
  EXPECT_THROW(measure_limits(Isa::kPortable, 1, {.seconds = std::numeric_limits<double>::quiet_NaN()}),
               Error);
  for (int level = 0; level < cpu::kIsaCount; ++level) {
    const Isa isa = static_cast<Isa>(level);
    if (!cpu::supported(isa)) {
      EXPECT_THROW(measure_limits(isa, 1), Error) << name(isa);
    }
  }
}

// A directory laid out like /sys/devices/system/cpu/cpu0/cache.
class FakeCaches : public testing::Test {
 protected:
  FakeCaches() : root_(std::filesystem::path(testing::TempDir()) / "strobe_fake_caches") {
    std::filesystem::remove_all(root_);
  }
  ~FakeCaches() override { std::filesystem::remove_all(root_); }

  void add(const std::string& level, const std::string& type, const std::string& size) {
    const std::filesystem::path index = root_ / ("index" + std::to_string(count_++));
    std::filesystem::create_directories(index);
    std::ofstream(index / "level") << level << '\n';
    std::ofstream(index / "type") << type << '\n';
    std::ofstream(index / "size") << size << '\n';
  }
  cpu::CacheInfo read() const { return cpu::read_cache_info(root_.string()); }

 private:
  std::filesystem::path root_;
  int count_ = 0;
};

TEST_F(FakeCaches, ThreeLevels) {
  add("1", "Instruction", "32K");
  add("1", "Data", "48K");
  add("2", "Unified", "1024K");
  add("3", "Unified", "32M");
  const cpu::CacheInfo info = read();
  EXPECT_EQ(info.l1d, 48u << 10);
  EXPECT_EQ(info.l2, 1u << 20);
  EXPECT_EQ(info.llc, 32u << 20);
}

TEST_F(FakeCaches, FourthLevelIsTheLast) {
  add("1", "Data", "32768");
  add("2", "Unified", "256K");
  add("3", "Unified", "6144K");
  add("4", "Unified", "128M");
  EXPECT_EQ(read().l1d, 32768u);
  EXPECT_EQ(read().llc, 128u << 20);
}

TEST_F(FakeCaches, FallsBackWhereSysfsSaysNothing) {
  add("x", "Data", "1K");
  add("2", "Unified", "lots");
  for (const cpu::CacheInfo& info : {read(), cpu::read_cache_info("/nonexistent")}) {
    EXPECT_GE(info.l1d, 8u << 10);
    EXPECT_GE(info.l2, info.l1d);
    EXPECT_GE(info.llc, info.l2);
  }
}

TEST(CacheInfo, OfThisMachine) {
  const cpu::CacheInfo& info = cpu::cache_info();
  EXPECT_GE(info.l1d, 8u << 10);
  EXPECT_LE(info.l1d, 1u << 20);
  EXPECT_GE(info.l2, info.l1d);
  EXPECT_GE(info.llc, info.l2);
}

}  // namespace
}  // namespace strobe::bench
