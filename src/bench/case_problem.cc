#include "bench/case_problem.h"

#include <fmt/format.h>

#include "bench/run_info.h"
#include "core/message.h"

namespace strobe::bench {

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

namespace {

std::string repro_text(const BenchCase& bench_case, const RunOptions& options, const Row& row) {
  const MeasureOptions& measure = options.measure;
  std::string text = fmt::format("strobe bench --routine {}", row.routine);
  if (!row.flags.empty()) text += " " + row.flags;
  if (row.on_gpu())
    text += fmt::format(
        " --device {} --backends {}{}", row.device, row.backend,
        options.gpu_clock == GpuClock::kEvents ? "" : fmt::format(" --timing {}", name(options.gpu_clock)));
  else
    text += fmt::format(" --device {} --isa {} --threads {}", row.device, row.isa, row.threads);
  if (measure.budget)
    text += fmt::format(" --repeat_time_ms {} --dry_run_time_ms {}", measure.budget->repeat_seconds * 1e3,
                        measure.budget->dry_run_seconds * 1e3);
  else
    text += fmt::format(" --num_iters {} --dry_run_iters {}",
                        bench_case.num_iters.value_or(measure.num_iters), measure.dry_run_iters);
  text += fmt::format(" --random_seed {}", options.random_seed);
  if (options.refcheck) text += " --refcheck";
  if (options.allow_output_mismatch) text += " --allow_output_mismatch";
  if (!measure.cold) text += " --warm";
  if (!options.case_tag.empty()) text += " --case_tag " + shell_quoted(options.case_tag);
  return text;
}

}  // namespace

Row describe_case(const BenchCase& bench_case, const RunOptions& options, const op::Problem& problem,
                  const RowPlace& place) {
  Row row;
  row.routine = bench_case.routine.routine.name;
  row.family = bench_case.routine.op->family;
  row.backend = place.backend;
  row.device = place.device;
  row.isa = place.isa;
  row.threads = place.threads;
  row.values = bench_case.values;
  row.flags = bench_case.flags;
  row.options = options;
  row.flashinfer = bench_case.flashinfer;
  row.cost = problem.op->cost(problem.args.get(), problem.axes);
  row.traffic = traffic_of(*problem.op, problem.args.get(), row.cost);
  row.repro = repro_text(bench_case, options, row);
  return row;
}

std::string progress_text(std::string_view position, const Row& row, std::string_view what) {
  return fmt::format("{}{} {}: {}", position, row.routine, row.flags, what);
}

}  // namespace strobe::bench
