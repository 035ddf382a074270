#include "bench/run_case.h"

#include <fmt/format.h>

#include "bench/case_problem.h"
#include "bench/scoped_isa.h"
#include "strobe/threads.h"

namespace strobe::bench {
namespace {

op::CheckResult check_first_call(const op::Problem& problem, std::uint64_t seed) {
  op::Random random(seed);
  const op::Expected expected =
      op::expect(*problem.op, problem.args.get(), problem.axes, kCheckedRows, random);
  problem.run();
  return op::compare(*problem.op, problem.args.get(), problem.axes, expected);
}

RowPlace place_here() {
  return {std::string(name(Backend::kCpu)), "cpu", std::string(cpu::name(cpu::active_isa())),
          executor().max_workers()};
}

class CaseRun {
 public:
  CaseRun(const BenchCase& bench_case, const RunOptions& options, std::span<const cpu::Isa> levels,
          const LimitProbe& probe)
      : case_(bench_case), options_(options), levels_(levels), probe_(probe) {
    options_.measure.num_iters = bench_case.num_iters.value_or(options.measure.num_iters);
    cpu::set_active_isa(levels_.front());  // a plan holds for the level that it was made on
    problems_.push_back(make_problem(case_, options_.random_seed));
    for (cpu::Isa level : levels_) {
      cpu::set_active_isa(level);
      rows_.push_back(describe_case(case_, options_, problems_.front(), place_here()));
    }
  }

  // Every level meets inputs as they were made, and poisoned outputs.
  void check(std::string_view position, Progress& progress) {
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      progress.show(progress_text(position, rows_[i], "reference check"));
      cpu::set_active_isa(levels_[i]);
      rows_[i].check =
          i == 0 ? check_first_call(problems_.front(), options_.random_seed)
                 : check_first_call(make_problem(case_, options_.random_seed), options_.random_seed);
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

  // Plans again where levels take turns.
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
