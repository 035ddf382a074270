// Timing of repeated calls.
#pragma once

#include <vector>

#include "strobe/threads.h"

namespace strobe::bench {

struct MeasureOptions {
  int num_iters = 30;     // timed calls
  int dry_run_iters = 5;  // untimed calls before them: code, threads and clock frequency warm up
  int calls() const { return dry_run_iters + num_iters; }
};

// Seconds of every timed call, in order; none is dropped.
struct Timing {
  std::vector<double> seconds;
  double median() const;
  double min() const;
  double deviation() const;  // standard deviation of the sample; 0 for one call
};

// Calls call(i) for i in [0, options.calls()) and times all but the dry runs. `progress` hears of the calls
// done, outside the timed regions.
Timing measure(const MeasureOptions& options, FunctionRef<void(int i)> call,
               FunctionRef<void(int done)> progress);

}  // namespace strobe::bench
