// One run of the benchmark: limits, cases, limits again.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "bench/limits.h"
#include "bench/run_case.h"
#include "bench/workload_run.h"

namespace strobe::bench {

// The machine's limits before and after the cases, by position in `levels`.
struct SessionLimits {
  std::vector<Limits> before, after;
  // The rates that rows of the level are held against: the larger of each; before the second measurement, the
  // first.
  LimitRates of(std::string_view isa) const;
};

std::vector<Limits> measure_levels(const std::vector<cpu::Isa>& levels, int threads);

// What to run: cases, or a workload, which runs on the first level.
struct SessionPlan {
  std::vector<BenchCase> cases;
  std::optional<WorkloadPlan> workload;
  std::vector<cpu::Isa> levels;
  RunOptions options;
};

struct SessionResult {
  SessionLimits limits;
  std::vector<Row> rows;
  std::optional<WorkloadResult> workload;
  bool failed() const;  // some reference check failed
};

struct SessionCallbacks {
  std::function<void(const SessionLimits&)> on_start;            // limits are known
  std::function<void(const Row&, const SessionLimits&)> on_row;  // a row is finished
};

// Every case at every level in turn, the executor's threads pinned. Sets the active level back afterwards.
SessionResult run_session(SessionPlan plan, const SessionCallbacks& callbacks, Progress& progress);

}  // namespace strobe::bench
