#include "bench/run_case.h"

#include <fmt/format.h>

#include "bench/scoped_isa.h"
#include "core/message.h"
#include "op/call.h"
#include "strobe/threads.h"

namespace strobe::bench {
namespace {

// Errors say which case they are about.
op::Problem make_problem(const BenchCase& bench_case, std::uint64_t seed) {
  const op::Routine& routine = bench_case.routine.routine;
  try {
    op::Random random(seed);
    op::Problem problem = routine.make(*bench_case.routine.op, bench_case.values, random);
    if (problem.plan) problem.plan();
    return problem;
  } catch (const Error& error) {
    fail(error.kind(), "{}{}{} {}: {}", bench_case.origin, bench_case.origin.empty() ? "" : ": ",
         routine.name, bench_case.flags, error.what());
  }
}

op::CheckResult check_first_call(const op::Problem& problem, std::uint64_t seed) {
  op::Random random(seed);
  const op::Expected expected =
      op::expect(*problem.op, problem.args.get(), problem.axes, kCheckedRows, random);
  problem.run();
  return op::compare(*problem.op, problem.args.get(), problem.axes, expected);
}

std::string repro_text(const BenchCase& bench_case, const RunOptions& options, const Row& row) {
  const MeasureOptions& measure = options.measure;
  std::string text = fmt::format("strobe bench --routine {}", row.routine);
  if (!row.flags.empty()) text += " " + row.flags;
  text += fmt::format(" --device {} --isa {} --threads {}", row.device, row.isa, row.threads);
  if (measure.budget)
    text += fmt::format(" --repeat_time_ms {} --dry_run_time_ms {}", measure.budget->repeat_seconds * 1e3,
                        measure.budget->dry_run_seconds * 1e3);
  else
    text += fmt::format(" --num_iters {} --dry_run_iters {}",
                        bench_case.num_iters.value_or(measure.num_iters), measure.dry_run_iters);
  text += fmt::format(" --random_seed {}", options.random_seed);
  if (options.refcheck) text += " --refcheck";
  if (!measure.cold) text += " --warm";
  return text;
}

Row describe_case(const BenchCase& bench_case, const RunOptions& options, const op::Problem& problem) {
  Row row;
  row.routine = bench_case.routine.routine.name;
  const Device device = op::device_of(*problem.op, problem.args.get());
  row.device = device.type == DeviceType::kCpu ? "cpu" : to_string(device);
  row.backend = name(Backend::kCpu);
  row.isa = cpu::name(cpu::active_isa());
  row.threads = executor().max_workers();
  row.values = bench_case.values;
  row.flags = bench_case.flags;
  row.cost = problem.op->cost(problem.args.get(), problem.axes);
  row.traffic = traffic_of(*problem.op, problem.args.get(), row.cost);
  row.repro = repro_text(bench_case, options, row);
  return row;
}

std::string progress_text(std::string_view position, const Row& row, std::string_view what) {
  return fmt::format("{}{} {}: {}", position, row.routine, row.flags, what);
}

class CaseRun {
 public:
  CaseRun(const BenchCase& bench_case, const RunOptions& options, std::span<const cpu::Isa> levels,
          const LimitProbe& probe)
      : case_(bench_case), options_(options), levels_(levels), probe_(probe) {
    options_.measure.num_iters = bench_case.num_iters.value_or(options.measure.num_iters);
    problems_.push_back(make_problem(case_, options_.random_seed));
    for (cpu::Isa level : levels_) {
      cpu::set_active_isa(level);
      rows_.push_back(describe_case(case_, options_, problems_.front()));
    }
  }

  // Fresh inputs and poisoned outputs for every level.
  void check(std::string_view position, Progress& progress) {
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      progress.show(progress_text(position, rows_[i], "reference check"));
      cpu::set_active_isa(levels_[i]);
      rows_[i].check = check_first_call(make_problem(case_, options_.random_seed), options_.random_seed);
    }
  }

  void time(std::string_view position, Progress& progress) {
    const Subject subject = {
        .call = [&](int, int instance) { problems_[static_cast<std::size_t>(instance)].run(); },
        .variants = static_cast<int>(levels_.size()),
        .touched_bytes = rows_.front().traffic.touched_bytes,
        .make_instances =
            [&](int count) {
              while (static_cast<int>(problems_.size()) < count)
                problems_.push_back(make_problem(case_, options_.random_seed + problems_.size()));
              take_limits();
            },
        .prepare = [&](int variant, int instance) { switch_to(variant, instance); },
        .progress =
            [&](int done, int calls) {
              progress.show(progress_text(position, rows_.front(), fmt::format("{}/{}", done, calls)));
            }};
    Measurement measurement = measure(options_.measure, subject);
    take_limits();
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      rows_[i].timing = std::move(measurement.variants[i]);
      rows_[i].instances = measurement.instances;
      rows_[i].floor = floor_of(rows_[i].cost, rows_[i].traffic, rows_[i].limits);
    }
  }

  void time_plans() {
    const auto& plan = problems_.front().plan;
    if (!plan) return;
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      cpu::set_active_isa(levels_[i]);
      rows_[i].plan_seconds =
          measure(options_.measure, {.call = [&](int, int) { plan(); }}).variants.front().median();
    }
  }

  std::vector<Row> take_rows() { return std::move(rows_); }

 private:
  // What the machine can do just now, at every level.
  void take_limits() {
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      cpu::set_active_isa(levels_[i]);
      rows_[i].limits = larger(rows_[i].limits, probe_.measure());
    }
  }

  // A plan holds for the level that it was made on.
  void switch_to(int variant, int instance) {
    if (levels_.size() == 1) return;
    cpu::set_active_isa(levels_[static_cast<std::size_t>(variant)]);
    const op::Problem& problem = problems_[static_cast<std::size_t>(instance)];
    if (problem.plan) problem.plan();
  }

  const BenchCase& case_;
  RunOptions options_;
  std::span<const cpu::Isa> levels_;
  const LimitProbe& probe_;
  std::vector<op::Problem> problems_;  // the first, and the other instances of its inputs
  std::vector<Row> rows_;              // one a level
};

}  // namespace

std::vector<Row> run_case(const BenchCase& bench_case, const RunOptions& options,
                          std::span<const cpu::Isa> levels, const LimitProbe& probe,
                          std::string_view position, Progress& progress) {
  const ScopedIsa restore;
  progress.show(fmt::format("{}{}: making inputs", position, bench_case.routine.routine.name));
  CaseRun run(bench_case, options, levels, probe);
  if (options.refcheck) run.check(position, progress);
  run.time(position, progress);
  run.time_plans();
  return run.take_rows();
}

}  // namespace strobe::bench
