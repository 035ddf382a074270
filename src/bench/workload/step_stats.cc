#include "bench/workload/step_stats.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace strobe::bench {

void StepStats::add(const Step& step, double seconds) {
  seconds_.push_back(seconds);
  ++sums_.steps;
  ++(step.num_prefill == 0  ? sums_.decode_steps
     : step.num_decode == 0 ? sums_.prefill_steps
                            : sums_.mixed_steps);
  sums_.tokens += step.num_tokens;
  sums_.decode_tokens += step.num_decode;
  sums_.prefill_tokens += step.num_tokens - step.num_decode;
  sums_.batch_mean += step.batch_size();
  sums_.batch_max = std::max(sums_.batch_max, step.batch_size());
  sums_.kv_rows_mean += std::accumulate(step.kv_len.begin(), step.kv_len.end(), 0.0);
  sums_.pages_in_use_mean += step.pages_in_use;
  sums_.pages_in_use_max = std::max(sums_.pages_in_use_max, step.pages_in_use);
  sums_.waiting_max = std::max(sums_.waiting_max, step.waiting);
  sums_.preemptions = step.preemptions;
  sums_.seconds += seconds;
}

StepSummary StepStats::summary() const {
  StepSummary summary = sums_;
  if (summary.steps == 0) return summary;
  summary.batch_mean /= summary.steps;
  summary.kv_rows_mean /= summary.steps;
  summary.pages_in_use_mean /= summary.steps;
  if (summary.seconds > 0) summary.tokens_per_s = static_cast<double>(summary.tokens) / summary.seconds;
  summary.step_median_s = percentile(seconds_, 0.5);
  summary.step_p99_s = percentile(seconds_, 0.99);
  return summary;
}

double percentile(std::vector<double> values, double p) {
  if (values.empty()) return 0;
  const double position = p * static_cast<double>(values.size() - 1);
  const auto low = static_cast<std::size_t>(position);
  std::nth_element(values.begin(), values.begin() + low, values.end());
  if (low + 1 == values.size()) return values[low];
  const double above = *std::min_element(values.begin() + low + 1, values.end());
  return std::lerp(values[low], above, position - std::floor(position));
}

}  // namespace strobe::bench
