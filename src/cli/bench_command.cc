#include <fmt/format.h>

#include <functional>
#include <memory>
#include <optional>

#include "bench/flashinfer/output.h"
#include "bench/json_report.h"
#include "bench/output_file.h"
#include "bench/report/report_page.h"
#include "bench/result_file.h"
#include "bench/run_info.h"
#include "bench/session.h"
#include "bench/text_report.h"
#include "bench/workload_report.h"
#include "cli/bench_plan.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
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

// Never throws: a full disk behind stdout must not cost the results that go elsewhere. cli::run tells of it.
void print(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void print_flashinfer(const Row& row) {
  if (row.options.generate_repro_command)
    print("[INFO] To reproduce this test case, run the following command: " + row.repro + "\n");
  print(flashinfer::perf_line(row));
  if (row.failed()) print("[ERROR] reference check failed: " + row.check->worst + "\n");
}

// What is printed while the session runs.
SessionCallbacks console(const BenchOptions& options, bool has_rows) {
  const auto on_error = [](const std::string& message) { say("", message); };
  if (options.flashinfer_output)
    return {.on_start = [](const SessionLimits&) {}, .on_row = print_flashinfer, .on_error = on_error};
  return {.on_start =
              [has_rows](const SessionLimits& limits) {
                print(machine_text(this_machine()));
                for (const GpuFacts& gpu : limits.gpus) print(gpu_text(gpu));
                print(limits_text("limits", limits.before));
                if (has_rows) print(row_header());
              },
          .on_row = [](const Row& row) { print(row_text(row)); },
          .on_error = on_error};
}

// The files that results go to. They are tried before anything runs.
class ResultFiles {
 public:
  explicit ResultFiles(const BenchOptions& options) {
    if (!options.json.empty()) json_.emplace(options.json);
    if (!options.report.empty()) report_.emplace(options.report);
    if (!options.csv.empty()) csv_.emplace(options.csv);
  }

  bool any() const { return json_ || csv_ || report_; }

  // Writes what it can; returns whether that was all.
  bool write(const RunInfo& run, const SessionResult& result) const {
    const std::string json = json_of(run, this_machine(), result).dump(1) + "\n";
    bool all = true;
    all &= write(json_, [&] { return json; });
    all &= write(csv_, [&] { return flashinfer::csv_text(result.rows); });
    all &= write(report_, [&] { return report::report_page({read_result("this run", json)}); });
    return all;
  }

 private:
  static bool write(const std::optional<OutputFile>& file, const std::function<std::string()>& text) {
    if (!file) return true;
    try {
      file->write(text());
      return true;
    } catch (const Error& error) {
      say("", error.what());
      return false;
    }
  }

  std::optional<OutputFile> json_, csv_, report_;
};

// Nothing when it was stopped before anything was finished.
std::optional<SessionResult> run_until_stopped(SessionPlan plan, const SessionCallbacks& callbacks,
                                               Progress& progress) {
  try {
    return run_session(std::move(plan), callbacks, progress);
  } catch (const Stopped&) {
    progress.clear();
    return {};
  }
}

int bench(const BenchOptions& options, const std::vector<std::string>& extra_words, const RunInfo& run) {
  if (options.list) return list(options.one.run.verbosity > 0);
  BenchPlan plan = make_plan(options, extra_words);
  const ResultFiles files(options);
  if (options.threads > 0) set_num_threads(options.threads);
  for (const std::string& note : plan.notes) say("note: ", note);
  for (const std::string& error : plan.errors) say("", error);
  if (plan.empty()) return kFailed;

  const InterruptWatch watch;
  Progress progress(Progress::on_terminal(), &InterruptWatch::interrupted);
  const SessionCallbacks callbacks = console(options, !plan.session.workload);
  const bool parsed_all = plan.errors.empty();
  const std::optional<SessionResult> finished =
      run_until_stopped(std::move(plan.session), callbacks, progress);
  if (!finished) {
    say("", "interrupted before anything was finished; nothing is written");
    return kInterrupted;
  }
  const SessionResult& result = *finished;
  if (!options.flashinfer_output) print(limits_text("limits after", result.limits.after));
  if (result.workload) print(workload_text(*result.workload, options.one.run.verbosity > 0));
  const bool written = files.write(run, result);
  if (result.stopped) {
    say("", written && files.any() ? "interrupted; what was finished is written" : "interrupted");
    return kInterrupted;
  }
  return written && parsed_all && !result.failed() ? kOk : kFailed;
}

}  // namespace

void add_bench(CLI::App& app, std::span<const std::string> words, Action& action) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command = app.add_subcommand(
      "bench", "Time the operators, check them against FP64, hold them against this machine's limits");
  command->allow_extras();  // flags of a routine or workload, which bench/case_line.h reads
  command->footer(help_footer());
  add_bench_options(*command, *options);
  add_bench_compare(*command, action);
  add_bench_report(*command, action);
  command->callback([=, &action, run = this_run(words)] {
    if (!command->get_subcommands().empty()) return;
    action = [=] { return bench(*options, command->remaining(), run); };
  });
}

}  // namespace strobe::cli
