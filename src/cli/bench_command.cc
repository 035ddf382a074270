#include <fmt/format.h>

#include <memory>
#include <optional>

#include "bench/flashinfer/output.h"
#include "bench/json_report.h"
#include "bench/output_file.h"
#include "bench/session.h"
#include "bench/text_report.h"
#include "bench/workload_report.h"
#include "cli/bench_plan.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "op/operator.h"
#include "strobe/error.h"
#include "strobe/threads.h"

namespace strobe::cli {
namespace {

using namespace bench;  // NOLINT: this file is the command of that namespace

std::string parameters_text(const std::vector<op::Parameter>& parameters) {
  std::string text;
  for (const op::Parameter& parameter : parameters)
    text += fmt::format("    --{:<24} {:<14} {}\n", parameter.name, parameter.default_value, parameter.doc);
  return text;
}

std::string help_footer() {
  return "With --routine, every parameter of the routine is a flag: strobe bench --list -v shows them.\n"
         "Command lines of FlashInfer's benchmark run too; docs/bench.md says which.\n"
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

void say(std::string_view kind, std::string_view message) {
  std::fflush(stdout);  // what is finished comes first
  fmt::print(stderr, "strobe: {}{}\n", kind, message);
}

// What is printed while the session runs.
SessionCallbacks console(const BenchOptions& options, bool has_rows) {
  if (options.flashinfer_output)
    return {.on_start = [](const SessionLimits&) {},
            .on_row =
                [](const Row& row) {
                  if (row.options.generate_repro_command)
                    fmt::print("[INFO] To reproduce this test case, run the following command: {}\n",
                               row.repro);
                  fmt::print("{}", flashinfer::perf_line(row));
                  if (row.failed()) fmt::print("[ERROR] reference check failed: {}\n", row.check->worst);
                  std::fflush(stdout);
                },
            .on_error = [](const std::string& message) { say("", message); }};
  return {.on_start =
              [has_rows](const SessionLimits& limits) {
                fmt::print("{}", machine_text(this_machine()));
                fmt::print("{}", limits_text("limits", limits.before));
                if (has_rows) fmt::print("{}", row_header());
                std::fflush(stdout);
              },
          .on_row =
              [](const Row& row) {
                fmt::print("{}", row_text(row));
                std::fflush(stdout);
              },
          .on_error = [](const std::string& message) { say("", message); }};
}

// The files that results go to. They are tried before anything runs.
class ResultFiles {
 public:
  explicit ResultFiles(const BenchOptions& options) {
    if (!options.json.empty()) json_.emplace(options.json);
    if (!options.csv.empty()) csv_.emplace(options.csv);
  }

  // Writes what it can; returns whether that was all.
  bool write(const SessionResult& result) const {
    bool all = true;
    if (json_) all &= write(*json_, json_of(this_machine(), result).dump(1) + "\n");
    if (csv_) all &= write(*csv_, flashinfer::csv_text(result.rows));
    return all;
  }

 private:
  static bool write(const OutputFile& file, const std::string& text) {
    try {
      file.write(text);
      return true;
    } catch (const Error& error) {
      say("", error.what());
      return false;
    }
  }

  std::optional<OutputFile> json_, csv_;
};

int bench(const BenchOptions& options, const std::vector<std::string>& extra_words) {
  if (options.list) return list(options.one.run.verbosity > 0);
  BenchPlan plan = make_plan(options, extra_words);
  const ResultFiles files(options);
  if (options.threads > 0) set_num_threads(options.threads);
  for (const std::string& note : plan.notes) say("note: ", note);
  for (const std::string& error : plan.errors) say("", error);
  if (plan.empty()) return kFailed;

  Progress progress;
  const SessionCallbacks callbacks = console(options, !plan.session.workload);
  const bool parsed_all = plan.errors.empty();
  const SessionResult result = run_session(std::move(plan.session), callbacks, progress);
  if (!options.flashinfer_output) fmt::print("{}", limits_text("limits after", result.limits.after));
  if (result.workload) fmt::print("{}", workload_text(*result.workload, options.one.run.verbosity > 0));
  const bool written = files.write(result);
  return written && parsed_all && !result.failed() ? kOk : kFailed;
}

}  // namespace

void add_bench(CLI::App& app, Action& action) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command = app.add_subcommand(
      "bench", "Time the operators, check them against FP64, hold them against this machine's limits");
  command->allow_extras();  // flags of a routine or workload, which bench/case_line.h reads
  command->footer(help_footer());
  add_bench_options(*command, *options);
  command->callback([=, &action] { action = [=] { return bench(*options, command->remaining()); }; });
}

}  // namespace strobe::cli
