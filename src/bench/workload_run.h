// Runs the attention layer of a model on the batches that a server would see.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bench/limit_probe.h"
#include "bench/progress.h"
#include "bench/roofline.h"
#include "bench/workload/step_stats.h"
#include "bench/workload_plan.h"
#include "op/check.h"

namespace strobe::bench {

// One operator's call in one step.
struct WorkloadCall {
  double seconds = 0;
  op::Cost cost;
  Traffic traffic;
};

struct WorkloadStep {
  WorkloadCall append;
  WorkloadCall attention;
  double plan_seconds = 0;
  double floor_seconds = 0;  // of both calls, against limits measured a few steps before and after
  int num_decode = 0;
  int num_prefill = 0;
  int num_tokens = 0;
  int pages_in_use = 0;
  double layer_seconds() const { return append.seconds + attention.seconds; }
};

struct WorkloadResult {
  WorkloadPlan plan;  // without its requests
  std::string isa;
  int threads = 0;
  StepSummary summary;  // times are those of the layer: append and attention, without plan
  std::vector<WorkloadStep> steps;
  int refused_requests = 0;              // longer than the pool
  std::optional<op::CheckResult> check;  // of all checked steps together; nothing: skipped
  int checked_steps = 0;
  std::string repro;
  bool stopped = false;  // before the last step that was asked for

  bool failed() const { return check && !check->passed; }
  std::vector<double> plan_seconds() const;
  // Sum of the steps' floors over the sum of their times.
  double fraction() const;
};

// Each step: append_paged_kv_cache, BatchAttention::plan, BatchAttention::run on random data, timed apart.
// With `refcheck`, a few steps are held against FP64 on sampled rows. Throws Error(kInvalidArgument) when the
// requests end within the skipped steps. When `progress` stops it, the result holds the finished steps;
// before the first one, Stopped is passed on.
WorkloadResult run_workload(WorkloadPlan plan, bool refcheck, const LimitProbe& probe, Progress& progress);

}  // namespace strobe::bench
