#include "bench/run_case.h"

#include <fmt/format.h>

#include "bench/rotation.h"
#include "core/message.h"
#include "cpu/cache_info.h"
#include "cpu/isa.h"
#include "op/call.h"

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
  std::string text = fmt::format("strobe bench --routine {}", row.routine);
  if (!row.flags.empty()) text += " " + row.flags;
  text +=
      fmt::format(" --device {} --isa {} --threads {} --num_iters {} --dry_run_iters {} --random_seed {}",
                  row.device, row.isa, row.threads, bench_case.num_iters.value_or(options.measure.num_iters),
                  options.measure.dry_run_iters, options.random_seed);
  if (options.refcheck) text += " --refcheck";
  if (options.warm) text += " --warm";
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

}  // namespace

Row run_case(const BenchCase& bench_case, const RunOptions& options, const LimitProbe& probe,
             std::string_view position, Progress& progress) {
  progress.show(fmt::format("{}{}: making inputs", position, bench_case.routine.routine.name));
  MeasureOptions measure_options = options.measure;
  measure_options.num_iters = bench_case.num_iters.value_or(measure_options.num_iters);
  std::vector<op::Problem> problems;
  problems.push_back(make_problem(bench_case, options.random_seed));
  Row row = describe_case(bench_case, options, problems.front());
  if (options.refcheck) {
    progress.show(progress_text(position, row, "reference check"));
    row.check = check_first_call(problems.front(), options.random_seed);
  }

  const Rotation rotation =
      options.warm ? Rotation{}
                   : plan_rotation(row.traffic.touched_bytes, cpu::cache_info().llc, measure_options.calls());
  row.instances = rotation.instances;
  while (static_cast<int>(problems.size()) < rotation.instances)
    problems.push_back(make_problem(bench_case, options.random_seed + problems.size()));
  const LimitRates before = probe.measure();
  evict_caches(rotation.evict_bytes);
  row.timing = measure(
      measure_options, [&](int i) { problems[static_cast<std::size_t>(i) % problems.size()].run(); },
      [&](int done) {
        progress.show(progress_text(position, row, fmt::format("{}/{}", done, measure_options.calls())));
      });
  row.limits = larger(before, probe.measure());
  row.floor = floor_of(row.cost, row.traffic, row.limits);
  if (const auto& plan = problems.front().plan)
    row.plan_seconds = measure(
                           measure_options, [&](int) { plan(); }, [](int) {})
                           .median();
  return row;
}

}  // namespace strobe::bench
