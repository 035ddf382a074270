// What two measurements of one case say about each other; docs/bench.md explains the rule.
#pragma once

#include <string>
#include <string_view>

#include "bench/result_file.h"

namespace strobe::bench {

enum class Verdict { kFaster, kSlower, kSame, kNotResolved, kMachineChanged };
std::string_view name(Verdict verdict);  // "faster", "slower", "same", "not resolved", "machine changed"

// Values of B over values of A: above 1, B takes longer.
struct Ratio {
  double median = 1, low = 1, high = 1;  // of the medians, and the interval that their scatter leaves
  double min = 1;                        // of the fastest calls
  double machine = 1;  // of the floors: what the change of the limits alone would make of it
};

struct CaseVerdict {
  Verdict verdict = Verdict::kSame;
  Ratio ratio;
  std::string reason;  // of "not resolved" and "machine changed"; else empty
};

// Rates of a run's limits before and after it at the rows' level.
struct LimitRange {
  LimitRates low, high;
};

// How much longer a call of `row` takes at least under the limits `b` than under `a`.
double floor_ratio(const ResultRow& row, const LimitRates& a, const LimitRates& b);

// `a` and `b` are the same case. `threshold` (0.05 for 5 %) is the change that counts. `a_range` and
// `b_range` are the limits of the runs; `same_machine` is false when the files name different processors.
CaseVerdict judge(const ResultRow& a, const ResultRow& b, double threshold, const LimitRange& a_range,
                  const LimitRange& b_range, bool same_machine);

}  // namespace strobe::bench
