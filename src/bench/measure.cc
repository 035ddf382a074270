#include "bench/measure.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "bench/rotation.h"
#include "bench/workload/step_stats.h"
#include "cpu/cache_info.h"
#include "cpu/pin.h"
#include "strobe/threads.h"

namespace strobe::bench {
namespace {

class HostTimer : public Timer {
 public:
  void start() override { start_ = Clock::now(); }
  double stop() override { return std::chrono::duration<double>(Clock::now() - start_).count(); }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_;
};

double timed_call(const Subject& subject, Timer& timer, int variant, int instance) {
  if (subject.prepare) subject.prepare(variant, instance);
  timer.start();
  subject.call(variant, instance);
  return timer.stop();
}

// Seconds of one call of every variant together, from a few on instance 0.
double round_seconds(const TimeBudget& budget, const Subject& subject, Timer& timer) {
  constexpr int kRounds = 5;
  const auto round = [&] {
    double seconds = 0;
    for (int variant = 0; variant < subject.variants; ++variant)
      seconds += timed_call(subject, timer, variant, 0);
    return seconds;
  };
  round();  // code and threads
  double total = 0;
  int rounds = 0;
  do {
    total += round();
    ++rounds;
  } while (rounds < kRounds && total < budget.repeat_seconds * subject.variants);
  return std::max(total / rounds, 1e-9);
}

MeasureOptions with_counts(MeasureOptions options, const Subject& subject, Timer& timer) {
  if (!options.budget) return options;
  const double a_round = round_seconds(*options.budget, subject, timer);
  const auto count = [&](double seconds, int least) {
    const double rounds = std::ceil(seconds * subject.variants / a_round);
    return static_cast<int>(std::clamp<double>(rounds, least, TimeBudget::kMostCalls));
  };
  options.dry_run_iters = count(options.budget->dry_run_seconds, 1);
  options.num_iters = count(options.budget->repeat_seconds, TimeBudget::kLeastCalls);
  return options;
}

int make_instances(const MeasureOptions& options, const Subject& subject) {
  if (!subject.make_instances) return 1;
  const std::size_t cache = subject.cache_bytes > 0 ? subject.cache_bytes : cpu::cache_info().llc;
  const Rotation rotation =
      options.cold ? plan_rotation(subject.touched_bytes, cache, options.calls() * subject.variants)
                   : Rotation{};
  subject.make_instances(rotation.instances);
  subject.evict ? subject.evict(rotation.evict_bytes) : evict_caches(rotation.evict_bytes);
  return rotation.instances;
}

// Calls every variant in turn, round after round, each on the next instance.
class Rounds {
 public:
  Rounds(const MeasureOptions& options, const Subject& subject, Timer& timer, int instances)
      : calls_(options.calls()), subject_(subject), timer_(timer), instances_(instances) {}

  // At most `count` rounds; fewer when `seconds` have passed, but at least `least`. Returns how many.
  int run(int count, int least, double seconds, FunctionRef<void(int variant, double seconds)> keep) {
    double total = 0;
    int done = 0;
    while (done < count && (done < least || total < seconds)) {
      for (int variant = 0; variant < subject_.variants; ++variant) {
        const double one = timed_call(subject_, timer_, variant, next_++ % instances_);
        keep(variant, one);
        total += one;
      }
      ++done;
      if (subject_.progress) subject_.progress(++done_, calls_);
    }
    return done;
  }

 private:
  int calls_;
  const Subject& subject_;
  Timer& timer_;
  int instances_;
  int next_ = 0;  // call
  int done_ = 0;  // rounds
};

}  // namespace

Timer& host_timer() {
  static thread_local HostTimer timer;
  return timer;
}

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

int Timing::outliers() const {
  const double low = percentile(seconds, 0.25), high = percentile(seconds, 0.75), fence = 3 * (high - low);
  return static_cast<int>(std::count_if(seconds.begin(), seconds.end(), [&](double value) {
    return value < low - fence || value > high + fence;
  }));
}

Measurement measure(const MeasureOptions& requested, const Subject& subject, Timer& timer) {
  std::optional<cpu::ScopedPin> pin;
  if (requested.pin_threads) pin.emplace(executor());
  const MeasureOptions options = with_counts(requested, subject, timer);
  Measurement result;
  result.variants.resize(static_cast<std::size_t>(subject.variants));
  result.instances = make_instances(options, subject);
  for (Timing& timing : result.variants) timing.seconds.reserve(static_cast<std::size_t>(options.num_iters));

  Rounds rounds(options, subject, timer, result.instances);
  const auto limit = [&](double TimeBudget::*seconds) {
    return options.budget ? *options.budget.*seconds * subject.variants
                          : std::numeric_limits<double>::infinity();
  };
  result.dry_run_iters =
      rounds.run(options.dry_run_iters, 1, limit(&TimeBudget::dry_run_seconds), [](int, double) {});
  rounds.run(options.num_iters, TimeBudget::kLeastCalls, limit(&TimeBudget::repeat_seconds),
             [&](int variant, double seconds) {
               result.variants[static_cast<std::size_t>(variant)].seconds.push_back(seconds);
             });
  return result;
}

}  // namespace strobe::bench
