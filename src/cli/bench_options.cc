#include "cli/bench_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>

#include "bench/suites.h"
#include "bench/workload/builtin_workload.h"

namespace strobe::cli {
namespace {

using bench::TimeBudget;

constexpr double kLeastMs = 0.001, kMostMs = 1e7;
constexpr int kMostCalls = 1000000;

TimeBudget& budget_of(CaseOptions& options) {
  if (!options.run.measure.budget) options.run.measure.budget.emplace();
  return *options.run.measure.budget;
}

void add_calls(CLI::App& command, CaseOptions& options) {
  command
      .add_option_function<int>(
          "-n,--num_iters",
          [&](int count) {
            options.run.measure.num_iters = count;
            options.run.measure.budget.reset();
            options.num_iters_given = true;
          },
          "Timed calls of a case (30)")
      ->check(CLI::Range(1, kMostCalls));
  command.add_option("-d,--dry_run_iters", options.run.measure.dry_run_iters, "Untimed calls before them")
      ->check(CLI::Range(0, kMostCalls))
      ->capture_default_str();
  command
      .add_option_function<double>(
          "--repeat_time_ms", [&](double ms) { budget_of(options).repeat_seconds = ms * 1e-3; },
          "In place of --num_iters: as many timed calls as fit in so many milliseconds")
      ->check(CLI::Range(kLeastMs, kMostMs))
      ->excludes(command.get_option("--num_iters"));
  command
      .add_option_function<double>(
          "--dry_run_time_ms", [&](double ms) { budget_of(options).dry_run_seconds = ms * 1e-3; },
          "The same of the untimed calls (25)")
      ->check(CLI::Range(kLeastMs, kMostMs))
      ->needs(command.get_option("--repeat_time_ms"));
  command.add_flag("--warm{false}", options.run.measure.cold,
                   "Keep to one copy of the inputs: what fits stays in the caches");
}

void add_backends(CLI::App& command, CaseOptions& options) {
  command.add_option("--device", options.device, "cpu, cuda or cuda:<number>")->capture_default_str();
  CLI::Option* isa = command.add_option("--isa", options.isa,
                                        "Instruction-set levels that take turns (default: the active one)");
  isa->delimiter(',');
  command
      .add_option(
          "--backends", options.backends,
          "The same by backend: cpu, cpu/avx2, cuda/sm80, …; those that are not here are left out, with the "
          "reason")
      ->excludes(isa);
}

// How calls on a GPU are timed.
void add_gpu_clock(CLI::App& command, CaseOptions& options) {
  static const std::map<std::string, bench::GpuClock> clocks = {{"events", bench::GpuClock::kEvents},
                                                                {"graph", bench::GpuClock::kGraph},
                                                                {"cupti", bench::GpuClock::kCupti}};
  CLI::Option* timing =
      command
          .add_option("--timing", options.run.gpu_clock,
                      "How calls on a GPU are timed: events (the default), graph (replays of calls that were "
                      "captured into a CUDA graph) or cupti (the kernels alone)")
          ->transform(CLI::CheckedTransformer(clocks, CLI::ignore_case))
          ->type_name("{events, graph, cupti}");
  command
      .add_flag_callback(
          "--cuda_graph", [&options] { options.run.gpu_clock = bench::GpuClock::kGraph; }, "--timing graph")
      ->excludes(timing);
  command
      .add_flag_callback(
          "--use_cupti", [&options] { options.run.use_cupti = true; },
          "--timing cupti where CUPTI can be used, else events")
      ->excludes(timing);
}

void add_results(CLI::App& command, CaseOptions& options) {
  command.add_flag("--refcheck", options.run.refcheck,
                   "Check the first result of every case against the FP64 reference");
  command.add_flag("--allow_output_mismatch", options.run.allow_output_mismatch,
                   "A check that fails is shown and does not fail the run");
  command.add_option("--random_seed", options.run.random_seed, "Seed of the inputs")->capture_default_str();
  command.add_option("--case_tag", options.run.case_tag, "A word of yours for the results");
  command.add_flag("--generate_repro_command", options.run.generate_repro_command,
                   "Print the command that repeats a row, and write it into the CSV file");
  command.add_flag("-v,--verbose", options.run.verbosity,
                   "More about every row, and the command that repeats it");
}

// Flags of FlashInfer's benchmark about GPUs and its own kernels: taken, so that its command lines run.
void add_flags_without_effect(CLI::App& command, CaseOptions& options) {
  const auto note = [&](const char* flag, const std::string& why) {
    options.notes.push_back(fmt::format("{} changes nothing: {}", flag, why));
  };
  const char* const group = "Taken from command lines for FlashInfer's benchmark; no effect";
  static constexpr auto kClocks =
      "calls on a GPU are timed by events unless --timing says otherwise, on a CPU by the host's clock";
  command
      .add_flag_callback("--no_cuda_graph",
                         [&options, note] {
                           options.run.no_cuda_graph = true;
                           note("--no_cuda_graph", "calls go into a CUDA graph only with --cuda_graph");
                         })
      ->group(group);
  command
      .add_flag_callback("--enable_pdl",
                         [&options, note] {
                           options.run.enable_pdl = true;
                           note("--enable_pdl",
                                "kernels begin beside the end of the one before wherever a GPU can");
                         })
      ->group(group);
  command.add_flag_callback("--use_cuda_events", [note] { note("--use_cuda_events", kClocks); })
      ->group(group);
  command
      .add_option_function<std::string>(
          "--autotune_cache", [note](const std::string&) { note("--autotune_cache", "nothing is tuned"); })
      ->group(group);
  command
      .add_option_function<std::string>(
          "--repro_command",
          [note](const std::string&) { note("--repro_command", "--generate_repro_command writes it"); })
      ->group(group);
}

// The flags that choose what runs; at most one of them.
void add_what(CLI::App& command, BenchOptions& options) {
  command.add_flag("--list", options.list, "List the routines (-v: with their parameters)");
  command.add_option(
      "--suite", options.suite,
      fmt::format("Run a suite: {}, or a FILE.json of your own", fmt::join(bench::suite_names(), ", ")));
  command.add_option("--testlist", options.testlist,
                     "Run the cases of a file: one command line on each line");
  command.add_option(
      "--workload", options.workload,
      fmt::format("Run the batches of a service: {}", fmt::join(bench::workload_names(), ", ")));
  command.add_option(
      "--requests", options.requests,
      "Run the batches of the requests in a CSV file (TIMESTAMP, ContextTokens, GeneratedTokens)");
  constexpr const char* kOneOf[] = {"--routine", "--suite", "--testlist", "--workload", "--requests"};
  for (const char* one : kOneOf)
    for (const char* other : kOneOf)
      if (one != other) command.get_option(one)->excludes(command.get_option(other));
}

void add_session(CLI::App& command, BenchOptions& options) {
  command.add_option("--threads", options.threads, "Threads (default: STROBE_NUM_THREADS, else all CPUs)")
      ->check(CLI::Range(1, 1024));
  command.add_option("--json", options.json, "Write the results to a file");
  command.add_option("--report", options.report, "Write the results as a page (HTML)");
  command.add_option(
      "--csv,--output_path", options.csv,
      "Write the rows to a CSV file with the columns of FlashInfer's benchmark, then Strobe's own");
  command.add_flag("--flashinfer-output", options.flashinfer_output,
                   "Print FlashInfer's [PERF] lines and nothing else");
}

}  // namespace

void add_case_options(CLI::App& command, CaseOptions& options) {
  command.add_option("-R,--routine", options.routine,
                     "Run one routine, of --list or of FlashInfer's benchmark");
  add_backends(command, options);
  add_calls(command, options);
  add_gpu_clock(command, options);
  add_results(command, options);
  add_flags_without_effect(command, options);
}

void add_bench_options(CLI::App& command, BenchOptions& options) {
  add_case_options(command, options.one);
  add_what(command, options);
  add_session(command, options);
}

}  // namespace strobe::cli
