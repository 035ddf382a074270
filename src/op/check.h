// The reference check that every declaration gives: expected values before the call, comparison after it.
#pragma once

#include <string>
#include <vector>

#include "op/operator.h"

namespace strobe::op {

// Which rows of an outermost axis to check: all of them up to `at_least`, else first, last, both sides of
// multiples of 64, and random ones until there are `at_least`.
std::vector<std::int64_t> sample_rows(std::int64_t extent, std::int64_t at_least, Random& random);

// FP64 results for sampled rows of every output; call it before the operator runs, since some work in place.
Expected expect(const Operator& op, const void* args, const Axes& axes, std::int64_t rows_at_least,
                Random& random);

struct CheckResult {
  bool passed = true;
  double max_abs_error = 0;  // over finite elements
  double max_rel_error = 0;  // |error| / (|want| + rms of the innermost axis)
  std::int64_t elements = 0;
  std::string
      worst;  // "out[3, 0, 17]: got 0.5, expected 0.25 ± 0.001" of the worst failure; empty when passed
};

// `device` is where the outputs were computed: their accuracy may differ.
CheckResult compare(const Operator& op, const void* args, const Axes& axes, const Expected& expected,
                    DeviceType device = DeviceType::kCpu);

}  // namespace strobe::op
