// One run of the benchmark: limits, cases, limits again.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "bench/limits.h"
#include "bench/run_case.h"

namespace strobe::bench {

// The machine's limits before and after the cases, by position in `levels`.
struct SessionLimits {
  std::vector<Limits> before, after;
  // The rates that rows of the level are held against: the larger of each; before the second measurement, the
  // first.
  LimitRates of(std::string_view isa) const;
};

std::vector<Limits> measure_levels(const std::vector<cpu::Isa>& levels, int threads);

struct SessionResult {
  SessionLimits limits;
  std::vector<Row> rows;
  bool failed() const;  // some reference check failed
};

struct SessionCallbacks {
  std::function<void(const SessionLimits&)> on_start;            // limits are known
  std::function<void(const Row&, const SessionLimits&)> on_row;  // a row is finished
};

// Every case at every level in turn, the executor's threads pinned. Sets the active level back afterwards.
SessionResult run_session(const std::vector<BenchCase>& cases, const std::vector<cpu::Isa>& levels,
                          const RunOptions& options, const SessionCallbacks& callbacks, Progress& progress);

}  // namespace strobe::bench
