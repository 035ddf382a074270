// Timing of repeated calls: how often, on which copies of the inputs, by which clock, and what the samples
// say. Knows no operator; run_case.h times those with it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace strobe::bench {

// The clock of a measurement. A CPU call is over when it returns; the timer of a device puts its events
// around the work, and waits for it in `stop`.
class Timer {
 public:
  virtual ~Timer() = default;
  virtual void start() = 0;
  virtual double stop() = 0;  // seconds since `start`, all work of the call done
};

Timer& host_timer();  // std::chrono::steady_clock

// The samples of one subject, in order; none is ever dropped.
struct Timing {
  std::vector<double> seconds;

  double median() const;
  double min() const;
  double deviation() const;  // standard deviation of the sample; 0 for one call
  // Samples beyond the outer fences: more than three times the distance of the quartiles away from them
  // (Tukey, Exploratory Data Analysis, 1977). They are part of every number above.
  int outliers() const;
};

// Numbers of calls that follow from how long a measurement may take, by the time of a few calls before it.
// Those run on warm inputs, so timed calls also end when their time is over, after kLeastCalls.
struct TimeBudget {
  double dry_run_seconds = 0.025;
  double repeat_seconds = 0.1;

  static constexpr int kLeastCalls = 3, kMostCalls = 2000;
};

struct MeasureOptions {
  int num_iters = 30;                // timed calls
  int dry_run_iters = 5;             // untimed calls before them: code, threads and clock frequency warm up
  std::optional<TimeBudget> budget;  // in place of both numbers
  bool cold = true;         // calls rotate through so many copies of the inputs that none is still cached
  bool pin_threads = true;  // the executor's threads stay on one CPU each

  int calls() const { return dry_run_iters + num_iters; }
};

// What is timed. Several variants (the backends of a comparison) take turns, call by call, so that whatever
// happens to the machine happens to all of them, and never meet inputs that the variant before has just read.
// Whatever a callback throws ends the measurement.
struct Subject {
  std::function<void(int variant, int instance)> call;
  int variants = 1;
  double touched_bytes = 0;     // distinct memory of a call
  std::size_t cache_bytes = 0;  // the cache that inputs are to be out of; 0: this machine's last level
  // Makes the inputs [1, instances), once, before the dry runs; those of instance 0 are there. Without it,
  // all calls go to instance 0.
  std::function<void(int instances)> make_instances;
  std::function<void(std::int64_t bytes)> evict;  // of the caches, as evict_caches; empty: this machine's
  std::function<void(int variant, int instance)> prepare;  // just before a call, untimed; may be empty
  std::function<void(int done, int calls)> progress;       // after each round of the variants; may be empty
};

struct Measurement {
  std::vector<Timing> variants;
  int instances = 1;  // copies of the inputs that the calls went through
  int dry_run_iters = 0;
};

Measurement measure(const MeasureOptions& options, const Subject& subject, Timer& timer = host_timer());

}  // namespace strobe::bench
