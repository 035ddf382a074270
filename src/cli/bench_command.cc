#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>
#include <optional>

#include "bench/json_report.h"
#include "bench/output_file.h"
#include "bench/report/report_page.h"
#include "bench/result_file.h"
#include "bench/session.h"
#include "bench/suites.h"
#include "bench/text_report.h"
#include "bench/workload/builtin_workload.h"
#include "bench/workload_report.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "core/message.h"
#include "op/operator.h"
#include "strobe/threads.h"

namespace strobe::cli {
namespace {

using namespace bench;  // NOLINT: this file is the command of that namespace

// What stands on the command line.
struct BenchFlags {
  bool list = false;
  std::string routine, suite, workload, requests;
  std::string device = "cpu";
  std::vector<std::string> isa;
  int threads = 0;
  RunOptions run;
  std::string json, report;
  bool verbose = false;
  bool num_iters_given = false;
};

std::string parameters_text(const std::vector<op::Parameter>& parameters) {
  std::string text;
  for (const op::Parameter& parameter : parameters)
    text += fmt::format("    --{:<24} {:<14} {}\n", parameter.name, parameter.default_value, parameter.doc);
  return text;
}

std::string help_footer() {
  return "With --routine, every parameter of the routine is a flag: strobe bench --list -v shows them.\n"
         "With --workload or --requests:\n" +
         parameters_text(workload_parameters());
}

int list(bool verbose) {
  for (const op::Operator* op : op::registry().all())
    for (const op::Routine& routine : op::routines_of(*op)) {
      fmt::print("{:<30} {}\n", routine.name, routine.doc);
      if (verbose) fmt::print("{}", parameters_text(routine.parameters));
    }
  return kOk;
}

std::vector<cpu::Isa> parse_levels(const std::vector<std::string>& names) {
  if (names.empty()) return {cpu::active_isa()};
  std::vector<cpu::Isa> levels;
  std::vector<std::string_view> known;
  for (cpu::Isa level : this_machine().isa_levels) known.push_back(cpu::name(level));
  for (const std::string& name : names) {
    const auto found = std::find(known.begin(), known.end(), name);
    if (found == known.end())
      fail(ErrorKind::kInvalidArgument, "--isa: expected levels that this machine runs ({}), got '{}'",
           fmt::join(known, ", "), name);
    levels.push_back(this_machine().isa_levels[static_cast<std::size_t>(found - known.begin())]);
  }
  return levels;
}

std::vector<BenchCase> parse_cases(const BenchFlags& flags, const std::vector<std::string>& extra_words) {
  if (!flags.routine.empty()) return {parse_case(flags.routine, extra_words)};
  if (flags.suite.empty())
    fail(ErrorKind::kInvalidArgument,
         "bench: expected --list, --suite NAME, --routine NAME, --workload NAME or --requests FILE");
  if (!extra_words.empty())
    fail(ErrorKind::kInvalidArgument, "bench: unknown flag '{}' for a suite", extra_words.front());
  std::vector<BenchCase> cases = suite_cases(flags.suite);
  if (flags.num_iters_given)
    for (BenchCase& bench_case : cases) bench_case.num_iters.reset();
  return cases;
}

SessionPlan parse_plan(const BenchFlags& flags, const std::vector<std::string>& extra_words) {
  SessionPlan plan;
  plan.options = flags.run;
  plan.levels = parse_levels(flags.isa);
  if (flags.workload.empty() && flags.requests.empty()) {
    plan.cases = parse_cases(flags, extra_words);
    return plan;
  }
  if (plan.levels.size() > 1)
    fail(ErrorKind::kInvalidArgument, "--isa: expected one level for a workload, got {}", plan.levels.size());
  plan.workload = plan_workload(flags.workload, flags.requests, extra_words, flags.run.random_seed);
  return plan;
}

void print_limits(std::string_view label, const std::vector<Limits>& levels) {
  for (const Limits& level : levels) fmt::print("{}", limits_text(label, level));
}

int bench(const BenchFlags& flags, const std::vector<std::string>& extra_words, const RunInfo& run) {
  if (flags.list) return list(flags.verbose);
  if (flags.device != "cpu")
    fail(ErrorKind::kInvalidArgument, "--device: expected cpu, got '{}'", flags.device);
  SessionPlan plan = parse_plan(flags, extra_words);
  std::optional<OutputFile> json_file, report_file;
  if (!flags.json.empty()) json_file.emplace(flags.json);
  if (!flags.report.empty()) report_file.emplace(flags.report);
  if (flags.threads > 0) set_num_threads(flags.threads);

  const Machine machine = this_machine();
  fmt::print("{}", machine_text(machine));
  const SessionCallbacks callbacks = {.on_start =
                                          [&](const SessionLimits& limits) {
                                            print_limits("limits", limits.before);
                                            if (!plan.workload) fmt::print("{}", row_header());
                                            std::fflush(stdout);
                                          },
                                      .on_row =
                                          [&](const Row& row) {
                                            fmt::print("{}", row_text(row, flags.verbose));
                                            std::fflush(stdout);
                                          }};
  Progress progress;
  const SessionResult result = run_session(plan, callbacks, progress);
  print_limits("limits after", result.limits.after);
  if (result.workload) fmt::print("{}", workload_text(*result.workload, flags.verbose));
  const std::string json = json_of(run, machine, result).dump(1) + "\n";
  if (json_file) json_file->write(json);
  if (report_file) report_file->write(report::report_page({read_result("this run", json)}));
  return result.failed() ? kFailed : kOk;
}

// The flags that choose what runs; at most one of them.
void add_what(CLI::App& command, BenchFlags& flags) {
  command.add_flag("--list", flags.list, "List the routines (-v: with their parameters)");
  command.add_option("--routine", flags.routine, "Run one routine");
  command.add_option(
      "--suite", flags.suite,
      fmt::format("Run a suite: {}, or a FILE.json of your own", fmt::join(suite_names(), ", ")));
  command.add_option("--workload", flags.workload,
                     fmt::format("Run the batches of a service: {}", fmt::join(workload_names(), ", ")));
  command.add_option(
      "--requests", flags.requests,
      "Run the batches of the requests in a CSV file (TIMESTAMP, ContextTokens, GeneratedTokens)");
  for (const char* one : {"--routine", "--suite", "--workload", "--requests"})
    for (const char* other : {"--routine", "--suite", "--workload", "--requests"})
      if (one != other) command.get_option(one)->excludes(other);
}

TimeBudget& budget_of(BenchFlags& flags) {
  if (!flags.run.measure.budget) flags.run.measure.budget.emplace();
  return *flags.run.measure.budget;
}

// The flags that say how; returns --num_iters.
CLI::Option* add_how(CLI::App& command, BenchFlags& flags) {
  command.add_option("--device", flags.device, "cpu")->capture_default_str();
  command.add_option("--isa", flags.isa, "Instruction-set levels, each in turn (default: the active one)")
      ->delimiter(',');
  command.add_option("--threads", flags.threads, "Threads (default: STROBE_NUM_THREADS, else all CPUs)")
      ->check(CLI::Range(1, 1024));
  command.add_flag("--refcheck", flags.run.refcheck,
                   "Check the first result of every case against the FP64 reference");
  CLI::Option* iterations =
      command.add_option("--num_iters", flags.run.measure.num_iters, "Timed calls of a case")
          ->check(CLI::Range(1, 1000000))
          ->capture_default_str();
  command.add_option("--dry_run_iters", flags.run.measure.dry_run_iters, "Untimed calls before them")
      ->check(CLI::Range(0, 1000000))
      ->capture_default_str();
  command
      .add_option_function<double>(
          "--repeat_time_ms", [&flags](double ms) { budget_of(flags).repeat_seconds = ms * 1e-3; },
          "In place of --num_iters: as many timed calls as fit in so many milliseconds")
      ->check(CLI::Range(0.001, 1e7))
      ->excludes(iterations);
  command
      .add_option_function<double>(
          "--dry_run_time_ms", [&flags](double ms) { budget_of(flags).dry_run_seconds = ms * 1e-3; },
          "The same of the untimed calls (25)")
      ->check(CLI::Range(0.001, 1e7))
      ->needs(command.get_option("--repeat_time_ms"));
  command.add_option("--random_seed", flags.run.random_seed, "Seed of the inputs")->capture_default_str();
  command.add_option("--json", flags.json, "Write the results to a file");
  command.add_option("--report", flags.report, "Write the results as a page (HTML)");
  command.add_flag("--warm{false}", flags.run.measure.cold,
                   "Keep to one copy of the inputs: what fits stays in the caches");
  command.add_flag("-v,--verbose", flags.verbose, "More about every row, and the command that repeats it");
  return iterations;
}

}  // namespace

void add_bench(CLI::App& app, std::span<const std::string> words, Action& action) {
  auto flags = std::make_shared<BenchFlags>();
  CLI::App* command = app.add_subcommand(
      "bench", "Time the operators, check them against FP64, hold them against this machine's limits");
  command->allow_extras();  // flags of a routine or workload, which bench/case_line.h reads
  command->footer(help_footer());
  add_what(*command, *flags);
  CLI::Option* iterations = add_how(*command, *flags);
  add_bench_report(*command, action);
  command->callback([=, &action, run = this_run(words)] {
    if (!command->get_subcommands().empty()) return;
    flags->num_iters_given = iterations->count() > 0;
    action = [=] { return bench(*flags, command->remaining(), run); };
  });
}

}  // namespace strobe::cli
