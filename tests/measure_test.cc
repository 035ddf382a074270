// Timing by a clock of the test's own: how many calls, on which inputs, and what the samples say.
#include "bench/measure.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>
#include <utility>
#include <vector>

#include "bench/rotation.h"
#include "cpu/pin.h"
#include "strobe/threads.h"

namespace strobe::bench {
namespace {

using testing::ElementsAre;

// Time passes only when a call says so.
class FakeTimer : public Timer {
 public:
  void start() override { started_ = now; }
  double stop() override { return now - started_; }
  double now = 0;

 private:
  double started_ = 0;
};

MeasureOptions counts(int num_iters, int dry_run_iters) {
  return {.num_iters = num_iters, .dry_run_iters = dry_run_iters};
}

MeasureOptions within(double repeat_seconds, double dry_run_seconds) {
  return {.budget = TimeBudget{.dry_run_seconds = dry_run_seconds, .repeat_seconds = repeat_seconds}};
}

TEST(Measure, TimesAllButTheDryRuns) {
  FakeTimer timer;
  int calls = 0;
  const Measurement result = measure(counts(3, 2), {.call = [&](int, int) { timer.now += ++calls; }}, timer);
  ASSERT_EQ(result.variants.size(), 1u);
  EXPECT_THAT(result.variants[0].seconds, ElementsAre(3, 4, 5));
  EXPECT_EQ(result.dry_run_iters, 2);
}

TEST(Measure, TimesTheCallOnly) {
  FakeTimer timer;
  const auto pass = [&](auto&&...) { timer.now += 100; };
  const Measurement result = measure(counts(2, 0),
                                     {.call = [&](int, int) { timer.now += 1; },
                                      .touched_bytes = 1e12,
                                      .make_instances = pass,
                                      .prepare = pass,
                                      .progress = pass},
                                     timer);
  EXPECT_THAT(result.variants[0].seconds, ElementsAre(1, 1));
}

TEST(Measure, VariantsTakeTurns) {
  FakeTimer timer;
  std::vector<int> prepared, called;
  const Measurement result = measure(counts(2, 1),
                                     {.call =
                                          [&](int variant, int) {
                                            called.push_back(variant);
                                            timer.now += variant + 1;
                                          },
                                      .variants = 3,
                                      .prepare = [&](int variant, int) { prepared.push_back(variant); }},
                                     timer);
  EXPECT_THAT(called, ElementsAre(0, 1, 2, 0, 1, 2, 0, 1, 2));
  EXPECT_EQ(prepared, called);
  EXPECT_THAT(result.variants[0].seconds, ElementsAre(1, 1));
  EXPECT_THAT(result.variants[2].seconds, ElementsAre(3, 3));
}

// No variant meets what the one before has just read.
TEST(Measure, ColdCallsRotateThroughInstances) {
  constexpr std::size_t kCache = 1 << 20;
  for (double bytes : {1.0, 2e5, 1e6, 3e6, 1e9})
    for (int variants : {1, 2, 3}) {
      std::vector<int> instances;
      int made = 1;
      FakeTimer timer;
      const Measurement result = measure(counts(6, 2),
                                         {.call = [&](int, int instance) { instances.push_back(instance); },
                                          .variants = variants,
                                          .touched_bytes = bytes,
                                          .cache_bytes = kCache,
                                          .make_instances = [&](int count) { made = count; }},
                                         timer);
      ASSERT_EQ(instances.size(), 8u * static_cast<std::size_t>(variants));
      EXPECT_EQ(made, result.instances);
      for (std::size_t i = 0; i < instances.size(); ++i)
        EXPECT_EQ(instances[i], static_cast<int>(i) % made) << bytes << " " << variants;
      if (made < static_cast<int>(instances.size())) {
        EXPECT_GE(made * bytes, kCachesBetween * static_cast<double>(kCache)) << "used again while cached";
      }
    }
}

TEST(Measure, WarmCallsKeepToOneInstance) {
  FakeTimer timer;
  int made = 0;
  MeasureOptions options = counts(4, 1);
  options.cold = false;
  const Measurement result = measure(options,
                                     {.call = [](int, int instance) { EXPECT_EQ(instance, 0); },
                                      .touched_bytes = 1,
                                      .make_instances = [&](int count) { made = count; }},
                                     timer);
  EXPECT_EQ(made, 1);
  EXPECT_EQ(result.instances, 1);
}

TEST(Measure, ABudgetGivesTheNumberOfCalls) {
  FakeTimer timer;
  const Measurement result =
      measure(within(1.0, 0.25), {.call = [&](int, int) { timer.now += 0.015625; }}, timer);
  EXPECT_EQ(result.variants[0].seconds.size(), 64u);
  EXPECT_EQ(result.dry_run_iters, 16);
}

TEST(Measure, ABudgetCountsForEachVariant) {
  FakeTimer timer;
  const Measurement result =
      measure(within(1.0, 0.25), {.call = [&](int, int) { timer.now += 0.125; }, .variants = 2}, timer);
  EXPECT_EQ(result.variants[0].seconds.size(), 8u);
  EXPECT_EQ(result.variants[1].seconds.size(), 8u);
}

TEST(Measure, ABudgetHasItsLimits) {
  FakeTimer timer;
  const auto seconds = [&](double call) {
    return measure(within(1.0, 0.25), {.call = [&](int, int) { timer.now += call; }}, timer)
        .variants[0]
        .seconds;
  };
  EXPECT_EQ(seconds(100).size(), static_cast<std::size_t>(TimeBudget::kLeastCalls));
  EXPECT_EQ(seconds(0).size(), static_cast<std::size_t>(TimeBudget::kMostCalls));
}

// Estimated on warm inputs, timed on cold ones: the time is over before the calls are.
TEST(Measure, ABudgetEndsWithItsTime) {
  FakeTimer timer;
  int call = 0;
  const Measurement result =
      measure(within(1.0, 0.25), {.call = [&](int, int) { timer.now += call++ < 6 ? 0.0625 : 0.25; }}, timer);
  EXPECT_EQ(result.variants[0].seconds.size(), 4u);
  EXPECT_EQ(result.dry_run_iters, 1);
}

TEST(Measure, TellsOfItsProgress) {
  FakeTimer timer;
  std::vector<std::pair<int, int>> seen;
  measure(counts(2, 1),
          {.call = [](int, int) {}, .progress = [&](int done, int calls) { seen.emplace_back(done, calls); }},
          timer);
  EXPECT_THAT(seen, ElementsAre(std::pair(1, 3), std::pair(2, 3), std::pair(3, 3)));
}

TEST(Measure, PinsItsThreads) {
  const std::vector<int> before = cpu::affinity();
  const auto cpus_while_measuring = [&](bool pin_threads) {
    std::size_t cpus = 0;
    MeasureOptions options = counts(1, 0);
    options.pin_threads = pin_threads;
    measure(options, {.call = [&](int, int) { cpus = cpu::affinity().size(); }});
    return cpus;
  };
  EXPECT_EQ(cpus_while_measuring(true), 1u);
  EXPECT_EQ(cpus_while_measuring(false), before.size());
  EXPECT_EQ(cpu::affinity(), before) << "given back";
}

TEST(Measure, GivesThreadsBackWhenACallThrows) {
  const std::vector<int> before = cpu::affinity();
  EXPECT_THROW(measure(counts(1, 0), {.call = [](int, int) { throw std::runtime_error("no"); }}),
               std::runtime_error);
  EXPECT_EQ(cpu::affinity(), before);
}

TEST(Measure, TheHostsClockMovesOn) {
  const Measurement result = measure(counts(3, 0), {.call = [](int, int) {
                                       volatile unsigned sum = 0;
                                       for (unsigned i = 0; i < 100000; ++i) sum = sum + i;
                                     }});
  for (double seconds : result.variants[0].seconds) EXPECT_GT(seconds, 0);
}

TEST(Timing, Statistics) {
  const Timing timing{{3, 1, 2, 6}};
  EXPECT_DOUBLE_EQ(timing.median(), 2.5);
  EXPECT_DOUBLE_EQ(timing.min(), 1);
  EXPECT_DOUBLE_EQ(timing.deviation(), std::sqrt(14.0 / 3));
  EXPECT_DOUBLE_EQ(Timing{{7}}.deviation(), 0);
}

TEST(Timing, OutliersCountAndStay) {
  Timing timing{{10, 11, 12, 13, 14}};  // quartiles 11 and 13: fences at 5 and 19
  EXPECT_EQ(timing.outliers(), 0);
  timing.seconds = {10, 11, 12, 13, 14, 30, 12, 11, 13};  // the same quartiles
  EXPECT_EQ(timing.outliers(), 1);
  EXPECT_GT(timing.deviation(), 5) << "the outlier is part of the spread";
  timing.seconds.push_back(1);
  EXPECT_EQ(timing.outliers(), 2) << "on either side";
  EXPECT_EQ(Timing{{}}.outliers(), 0);
}

}  // namespace
}  // namespace strobe::bench
