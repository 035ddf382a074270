#include "bench/compare/verdict.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace strobe::bench {
namespace {

// Standard error of a median over that of a mean, of normal samples: sqrt(pi / 2).
constexpr double kMedianError = 1.2533;
// Standard errors on either side of the ratio.
constexpr double kErrors = 3;
// Limits that differ by less are the same: two probes of an unchanged machine scatter by some percent.
constexpr double kMachineTolerance = 0.1;

double squared(double value) { return value * value; }

// Of the median, relative to it.
double relative_error(const ResultRow& row) {
  return kMedianError * row.std_ms / row.median_ms / std::sqrt(row.num_iters);
}

Ratio ratio_of(const ResultRow& a, const ResultRow& b) {
  Ratio ratio{.median = b.median_ms / a.median_ms, .min = b.min_ms / a.min_ms};
  const double factor =
      std::exp(kErrors * std::sqrt(squared(relative_error(a)) + squared(relative_error(b))));
  ratio.low = ratio.median / factor;
  ratio.high = ratio.median * factor;
  return ratio;
}

bool same_measurement(const ResultRow& a, const ResultRow& b) {
  return a.median_ms == b.median_ms && a.min_ms == b.min_ms && a.std_ms == b.std_ms &&
         a.num_iters == b.num_iters;
}

double memory_seconds(const ResultRow& row, const LimitRates& limits) {
  op::Cost cost;
  cost.bytes = row.bytes();
  return floor_of(cost, {row.read_bytes, row.written_bytes, row.bytes()}, limits).seconds;
}

double farther_from_one(double a, double b) { return std::abs(std::log(a)) > std::abs(std::log(b)) ? a : b; }

// By how much the runs' limits are apart, 1 when their ranges meet.
double range_ratio(const ResultRow& row, const LimitRange& a, const LimitRange& b) {
  const double slower = floor_ratio(row, a.low, b.high), faster = floor_ratio(row, a.high, b.low);
  if (slower > 1) return slower;  // all of B's limits are below all of A's
  return faster < 1 ? faster : 1;
}

}  // namespace

std::string_view name(Verdict verdict) {
  constexpr std::string_view kNames[] = {"faster", "slower", "same", "not resolved", "machine changed"};
  return kNames[static_cast<int>(verdict)];
}

double floor_ratio(const ResultRow& row, const LimitRates& a, const LimitRates& b) {
  if (row.bound == Bound::kMemory) return memory_seconds(row, b) / memory_seconds(row, a);
  double ratio = 1;
  for (const auto rate :
       {&LimitRates::fma_gflops, &LimitRates::bf16_dot_gflops, &LimitRates::e4m3_dot_gflops})
    if (a.*rate > 0 && b.*rate > 0) ratio = farther_from_one(ratio, a.*rate / (b.*rate));
  return ratio;
}

CaseVerdict judge(const ResultRow& a, const ResultRow& b, double threshold, const LimitRange& a_range,
                  const LimitRange& b_range, bool same_machine) {
  CaseVerdict result{.verdict = Verdict::kSame, .ratio = ratio_of(a, b), .reason = {}};
  Ratio& ratio = result.ratio;
  ratio.machine = farther_from_one(floor_ratio(a, a.limits, b.limits), range_ratio(a, a_range, b_range));
  if (!same_machine) return {Verdict::kMachineChanged, ratio, "another processor"};
  if (same_measurement(a, b) && ratio.machine == 1) {
    ratio.low = ratio.high = 1;  // one measurement, not two that agree
    return result;
  }
  const double beyond = 1 + threshold;
  const bool changed = std::abs(std::log(ratio.machine)) > std::log(1 + kMachineTolerance);
  // A machine that changed may explain as much as its limits did, or nothing.
  const double excuse_slower = changed ? std::max(1.0, ratio.machine) : 1;
  const double excuse_faster = changed ? std::min(1.0, ratio.machine) : 1;
  const bool slower = ratio.low > beyond * excuse_slower, faster = ratio.high * beyond < excuse_faster;
  if (slower && ratio.min > beyond * excuse_slower) return {Verdict::kSlower, ratio, {}};
  if (faster && ratio.min * beyond < excuse_faster) return {Verdict::kFaster, ratio, {}};
  if (changed)
    return {Verdict::kMachineChanged, ratio,
            fmt::format("its limit alone makes it {:.2f} times as long", ratio.machine)};
  if (slower || faster) return {Verdict::kNotResolved, ratio, "the median moved, the fastest call did not"};
  if (ratio.low * beyond >= 1 && ratio.high <= beyond) return result;
  return {Verdict::kNotResolved, ratio,
          fmt::format("between {:.2f} and {:.2f} times as long", ratio.low, ratio.high)};
}

}  // namespace strobe::bench
