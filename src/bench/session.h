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

// The machine's limits before and after everything else, by position in `levels`: what this machine is, for a
// reader who compares machines. Rows are held against limits measured next to them (limit_probe.h).
struct SessionLimits {
  std::vector<Limits> before, after;
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
  std::function<void(const SessionLimits&)> on_start;  // limits are known
  std::function<void(const Row&)> on_row;              // a row is finished
};

// Every case, its levels taking turns, the executor's threads pinned. Sets the active level back afterwards.
SessionResult run_session(SessionPlan plan, const SessionCallbacks& callbacks, Progress& progress);

}  // namespace strobe::bench
