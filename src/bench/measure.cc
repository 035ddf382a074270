#include "bench/measure.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "bench/workload/step_stats.h"

namespace strobe::bench {

double Timing::median() const { return percentile(seconds, 0.5); }

double Timing::min() const { return seconds.empty() ? 0 : *std::min_element(seconds.begin(), seconds.end()); }

double Timing::deviation() const {
  if (seconds.size() < 2) return 0;
  const auto count = static_cast<double>(seconds.size());
  double mean = 0, squares = 0;
  for (double value : seconds) mean += value / count;
  for (double value : seconds) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / (count - 1));
}

Timing measure(const MeasureOptions& options, FunctionRef<void(int i)> call,
               FunctionRef<void(int done)> progress) {
  using Clock = std::chrono::steady_clock;
  Timing timing;
  timing.seconds.reserve(static_cast<std::size_t>(options.num_iters));
  for (int i = 0; i < options.calls(); ++i) {
    const Clock::time_point start = Clock::now();
    call(i);
    const std::chrono::duration<double> elapsed = Clock::now() - start;
    if (i >= options.dry_run_iters) timing.seconds.push_back(elapsed.count());
    progress(i + 1);
  }
  return timing;
}

}  // namespace strobe::bench
