// What a workload's steps looked like and how long they took.
#pragma once

#include <cstdint>
#include <vector>

#include "bench/workload/scheduler.h"

namespace strobe::bench {

struct StepSummary {
  int steps = 0;
  int decode_steps = 0;   // steps of decodes only
  int prefill_steps = 0;  // steps of prefill chunks only
  int mixed_steps = 0;    // steps of both
  std::int64_t tokens = 0;
  std::int64_t decode_tokens = 0;
  std::int64_t prefill_tokens = 0;
  double batch_mean = 0;  // requests in a step
  int batch_max = 0;
  double kv_rows_mean = 0;  // KV rows of a step's requests together
  double pages_in_use_mean = 0;
  int pages_in_use_max = 0;
  int waiting_max = 0;
  int preemptions = 0;
  double seconds = 0;  // all steps
  double tokens_per_s = 0;
  double step_median_s = 0;
  double step_p99_s = 0;
};

class StepStats {
 public:
  void add(const Step& step, double seconds);
  StepSummary summary() const;  // all zero without steps

 private:
  StepSummary sums_;  // what `add` can keep; batch, KV rows and pages as sums in the fields of their means
  std::vector<double> seconds_;
};

// The value at or below which the fraction `p` of the values lie: linear between order statistics, 0 without
// values.
double percentile(std::vector<double> values, double p);

}  // namespace strobe::bench
