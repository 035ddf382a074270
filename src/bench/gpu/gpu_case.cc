#include "bench/gpu/gpu_case.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "bench/case_problem.h"
#include "cuda/device.h"
#include "cuda/driver.h"
#include "cuda/graph.h"
#include "op/call.h"
#include "op/device_operands.h"
#include "strobe/error.h"

namespace strobe::bench {
namespace {

// Calls that a measured time holds: so many that it takes about as long as `seconds`, events having a
// resolution of half a microsecond and a graph costing some microseconds to begin.
struct SampleRule {
  double seconds;
  int most;
};
constexpr SampleRule kEventSample{20e-6, 16}, kGraphSample{100e-6, 64}, kCuptiSample{0, 1};

const SampleRule& rule_of(GpuClock clock) {
  return clock == GpuClock::kEvents ? kEventSample : clock == GpuClock::kGraph ? kGraphSample : kCuptiSample;
}

// One copy of the inputs on the GPU.
class Instance {
 public:
  Instance(const op::Problem& problem, Device device, Stream stream)
      : args_(op::copy_args(*problem.op, problem.args.get())), operands_(*problem.op, args_.get(), device) {
    problem_.op = problem.op;
    problem_.args = args_;
    op::bind_calls(problem_, op::Phase::kRun);
    if (problem_.plan) problem_.plan(stream);
  }

  void enqueue(const Launch& launch) const { problem_.run(launch); }

 private:
  std::shared_ptr<void> args_;
  op::DeviceOperands operands_;
  op::Problem problem_;
};

class GpuCaseRun {
 public:
  GpuCaseRun(const BenchCase& bench_case, const RunOptions& options, std::span<const Backend> backends,
             const GpuProbe& probe)
      : case_(bench_case), options_(options), backends_(backends), probe_(probe) {
    options_.measure.num_iters = bench_case.num_iters.value_or(options.measure.num_iters);
    options_.measure.pin_threads = false;
    problem_ = make_problem(case_, options_.random_seed);
    const GpuFacts& facts = probe.facts();
    for (Backend backend : backends_)
      rows_.push_back(describe_case(case_, options_, problem_,
                                    {gpu_backend_label(backend), facts.device, facts.architecture, 0}));
  }

  void check(std::string_view position, Progress& progress) {
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      progress.show(progress_text(position, rows_[i], "reference check"));
      rows_[i].check = check_first_call(make_problem(case_, options_.random_seed), backends_[i]);
    }
  }

  void time(std::string_view position, Progress& progress) {
    progress.show(progress_text(position, rows_.front(), "first calls"));
    choose_calls();
    add_groups(1);
    const Subject subject = {
        .call = [&](int variant, int group) { enqueue_group(variant, group); },
        .variants = static_cast<int>(backends_.size()),
        .touched_bytes = rows_.front().traffic.touched_bytes * calls_,
        .cache_bytes = static_cast<std::size_t>(probe_.facts().l2_bytes),
        .make_instances =
            [&](int groups) {
              add_groups(groups);
              take_limits();
            },
        .evict = [&](std::int64_t bytes) { probe_.evict(bytes); },
        .prepare = {},
        .progress =
            [&](int done, int calls) {
              progress.show(progress_text(position, rows_.front(), fmt::format("{}/{}", done, calls)));
            }};
    const std::unique_ptr<Timer> timer = make_timer();
    Measurement measurement = measure(measure_options(), subject, *timer);
    take_limits();
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      rows_[i].timing = std::move(measurement.variants[i]);
      rows_[i].calls_per_sample = calls_;
      rows_[i].instances = static_cast<int>(instances_.size());
      rows_[i].floor = floor_of(rows_[i].cost, rows_[i].traffic, rows_[i].limits);
    }
  }

  std::vector<Row> take_rows() { return std::move(rows_); }

 private:
  Launch launch(Backend backend) const { return {probe_.stream(), backend}; }

  // Inputs as they were made, and poisoned outputs.
  op::CheckResult check_first_call(const op::Problem& problem, Backend backend) const {
    op::Random random(options_.random_seed);
    const op::Operator& op = *problem.op;
    void* args = problem.args.get();
    const op::Expected expected = op::expect(op, args, problem.axes, kCheckedRows, random);
    {
      const op::DeviceOperands operands(op, args, probe_.device());
      if (problem.plan) problem.plan(launch(backend));
      problem.run(launch(backend));
      cuda::synchronize(probe_.device(), probe_.stream());
      operands.download();
    }
    return op::compare(op, args, problem.axes, expected, DeviceType::kCuda);
  }

  // The first calls also load the kernels, or compile them, which a capture could not.
  void choose_calls() {
    add_instances(1);
    EventTimer timer(probe_, 1);
    double fastest = INFINITY;
    for (int round = 0; round < 4; ++round)
      for (Backend backend : backends_) {
        timer.start();
        instances_.front()->enqueue(launch(backend));
        const double seconds = timer.stop();
        if (round > 0) fastest = std::min(fastest, seconds);
      }
    const SampleRule& rule = rule_of(options_.gpu_clock);
    const double calls = std::ceil(rule.seconds / std::max(fastest, 1e-9));
    calls_ = static_cast<int>(std::clamp<double>(calls, 1, rule.most));
  }

  std::unique_ptr<Timer> make_timer() const {
    if (options_.gpu_clock == GpuClock::kCupti) return std::make_unique<CuptiTimer>(probe_);
    return std::make_unique<EventTimer>(probe_, calls_);
  }

  // A budget is of calls, a sample holds several.
  MeasureOptions measure_options() const {
    MeasureOptions options = options_.measure;
    if (options.budget) {
      options.budget->dry_run_seconds /= calls_;
      options.budget->repeat_seconds /= calls_;
    }
    return options;
  }

  void add_instances(std::size_t count) {
    while (instances_.size() < count)
      instances_.push_back(std::make_unique<Instance>(problem_, probe_.device(), probe_.stream()));
  }

  // A group is the instances that a measured time goes through, one call each; with --warm, its calls all go
  // to the one instance.
  void add_groups(int groups) {
    if (options_.measure.cold)
      add_instances(static_cast<std::size_t>(groups) * static_cast<std::size_t>(calls_));
    if (options_.gpu_clock != GpuClock::kGraph) return;
    for (auto group = static_cast<int>(graphs_.size() / backends_.size()); group < groups; ++group)
      for (Backend backend : backends_)
        graphs_.push_back(std::make_unique<cuda::Graph>(probe_.device(), probe_.stream(),
                                                        [&] { enqueue_calls(backend, group); }));
  }

  void enqueue_calls(Backend backend, int group) const {
    for (int call = 0; call < calls_; ++call) {
      const auto next =
          static_cast<std::size_t>(group) * static_cast<std::size_t>(calls_) + static_cast<std::size_t>(call);
      instances_[next % instances_.size()]->enqueue(launch(backend));
    }
  }

  void enqueue_group(int variant, int group) const {
    const auto number = static_cast<std::size_t>(variant);
    if (options_.gpu_clock != GpuClock::kGraph) return enqueue_calls(backends_[number], group);
    graphs_[static_cast<std::size_t>(group) * backends_.size() + number]->launch(probe_.stream());
  }

  // What the GPU can do just now.
  void take_limits() {
    const LimitRates now = probe_.measure();
    for (Row& row : rows_) row.limits = larger(row.limits, now);
  }

  const BenchCase& case_;
  RunOptions options_;
  std::span<const Backend> backends_;
  const GpuProbe& probe_;
  op::Problem problem_;
  int calls_ = 1;  // in a group
  std::vector<std::unique_ptr<Instance>> instances_;
  std::vector<std::unique_ptr<cuda::Graph>> graphs_;  // group after group, one a backend
  std::vector<Row> rows_;                             // one a backend
};

}  // namespace

std::string gpu_problem(Device device) {
  if (!cuda::driver_status().problem.empty()) return cuda::driver_status().problem;
  try {
    cuda::architecture_of(device);
    return {};
  } catch (const Error& error) {
    return error.what();
  }
}

std::string gpu_backend_label(Backend backend) {
  return backend == Backend::kAuto ? kAutoGpuBackend : std::string(name(backend));
}

std::vector<Backend> gpu_backends(const op::Operator& op, Device device, std::span<const Backend> wanted) {
  const bool has_sm90 = op.has(Backend::kCudaSm90) && cuda::serves_sm90(device);
  std::vector<Backend> found;
  for (Backend backend : wanted) {
    if (backend == Backend::kAuto && !has_sm90) backend = Backend::kCudaSm80;  // there is nothing to choose
    const bool there = backend == Backend::kAuto || op.has(backend);
    if (there && std::find(found.begin(), found.end(), backend) == found.end()) found.push_back(backend);
  }
  return found;
}

std::vector<std::string> gpu_routines(Device device) {
  constexpr Backend kAny[] = {Backend::kAuto};
  std::vector<std::string> names;
  for (const op::Operator* op : op::registry().all())
    if (!gpu_backends(*op, device, kAny).empty())
      for (const op::Routine& routine : op::routines_of(*op)) names.push_back(routine.name);
  return names;
}

std::vector<Row> run_gpu_case(const BenchCase& bench_case, const RunOptions& options,
                              std::span<const Backend> backends, const GpuProbe& probe,
                              std::string_view position, Progress& progress) {
  progress.show(fmt::format("{}{}: making inputs", position, bench_case.routine.routine.name));
  GpuCaseRun run(bench_case, options, backends, probe);
  if (options.refcheck) run.check(position, progress);
  run.time(position, progress);
  return run.take_rows();
}

}  // namespace strobe::bench
