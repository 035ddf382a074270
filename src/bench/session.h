// One run of the benchmark: limits, cases, limits again.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "bench/gpu/gpu_probe.h"
#include "bench/limits.h"
#include "bench/run_case.h"
#include "bench/workload_run.h"

namespace strobe::bench {

// The machine's limits before and after everything else, by position in `levels`, then in `gpus`: what this
// machine is, for a reader who compares machines. Rows are held against limits measured next to them
// (limit_probe.h).
struct SessionLimits {
  std::vector<Limits> before, after;
  std::vector<GpuFacts> gpus;  // that cases run on
};

std::vector<Limits> measure_levels(const std::vector<cpu::Isa>& levels, int threads);

struct PlannedCase {
  BenchCase bench_case;
  RunOptions options;
  std::vector<cpu::Isa> levels;       // that take turns on the CPU; may be empty
  Device gpu = {};                    // the GPU of the backends below
  std::vector<Backend> gpu_backends;  // that take turns there; may be empty
};

// What to run: cases, or a workload, which runs on the first level.
struct SessionPlan {
  std::vector<PlannedCase> cases;
  std::optional<WorkloadPlan> workload;
  std::vector<cpu::Isa> levels;  // of all cases
  std::vector<Device> gpus;      // of all cases
  bool workload_refcheck = false;
};

struct SessionResult {
  SessionLimits limits;
  std::vector<Row> rows;
  std::optional<WorkloadResult> workload;
  int errors = 0;        // cases that could not run
  bool stopped = false;  // before the end: the rows and steps that were finished are here
  bool failed() const;   // such a case, or a reference check that failed and may not
};

struct SessionCallbacks {
  std::function<void(const SessionLimits&)> on_start;        // limits are known
  std::function<void(const Row&)> on_row;                    // a row is finished
  std::function<void(const std::string& message)> on_error;  // a case could not run; the next one will
};

// A case that cannot run ends the session when it is the only one. When `progress` stops it, the result holds
// what was finished, and no limits measured after it; before the first row there is nothing to hold, and
// Stopped is passed on.
// Every case, its levels taking turns, the executor's threads pinned. Sets the active level back afterwards.
SessionResult run_session(SessionPlan plan, const SessionCallbacks& callbacks, Progress& progress);

}  // namespace strobe::bench
