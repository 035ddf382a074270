// strobe trace run: solutions on workloads, judged by an arbiter that does not trust them.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <set>
#include <sstream>

#include "bench/machine.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "core/env.h"
#include "trace/data_set.h"
#include "trace/run/evaluate.h"
#include "trace/run/native_worker.h"

namespace strobe::cli {
namespace {

struct Options {
  std::string data_set;
  std::vector<std::string> definitions, solutions, authors;
  trace::RunOptions run;
  double timeout_s = 300;
  bool resume = false, keep = true;
};

bool chosen(const std::vector<std::string>& names, const std::string& name) {
  return names.empty() || std::find(names.begin(), names.end(), name) != names.end();
}

void require_known(const Options& options, const trace::DataSet& set) {
  for (const std::string& name : options.definitions)
    if (set.definition(name) == nullptr)
      throw Error(ErrorKind::kInvalidArgument,
                  fmt::format("{}: there is no definition '{}'", options.data_set, name));
  for (const std::string& name : options.solutions)
    if (set.solution(name) == nullptr)
      throw Error(ErrorKind::kInvalidArgument,
                  fmt::format("{}: there is no solution '{}'", options.data_set, name));
}

// The line of a log that says most: a traceback's last, else the first.
std::string telling_line(const std::string& log) {
  if (!log.starts_with("Traceback")) return log.substr(0, log.find('\n'));
  std::istringstream lines(log);
  std::string line, last;
  std::getline(lines, line);
  while (std::getline(lines, line)) {  // a traceback's other lines are indented, its last is not
    last = line;
    if (!line.starts_with(' ') && !line.empty()) break;
  }
  return last;
}

std::string row(const trace::Trace& trace) {
  const trace::Evaluation& evaluation = *trace.evaluation;
  std::string text = fmt::format("{:<19} {} on {} {}", name(evaluation.status), *trace.solution,
                                 trace.definition, trace.workload.uuid);
  if (evaluation.performance)
    text += fmt::format(": {:.4f} ms, reference {:.4f} ms, {:.2f}x", evaluation.performance->latency_ms,
                        evaluation.performance->reference_latency_ms, evaluation.performance->speedup_factor);
  else if (const std::string& log = evaluation.log; !log.empty())
    text += ": " + telling_line(log);
  return text + "\n";
}

// The counts of what happened to the pairs of solution and workload.
struct Counts {
  int passed = 0, failed = 0, skipped = 0, kept = 0;
};

void run_pair(const Options& options, trace::DataSet& set, const trace::Definition& definition,
              const trace::Solution& solution, const trace::Workload& workload, Counts& counts) {
  try {
    const trace::Trace trace{definition.name, workload, solution.name,
                             trace::evaluate(set, definition, solution, workload, options.run)};
    fmt::print("{}", row(trace));
    std::fflush(stdout);
    if (options.keep) set.add(trace);
    ++(trace.evaluation->status == trace::Status::kPassed ? counts.passed : counts.failed);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kUnsupported) throw;
    fmt::print("skipped             {} on {} {}: {}\n", solution.name, definition.name, workload.uuid,
               error.what());
    ++counts.skipped;
  }
}

int run(Options options) {
  trace::DataSet set(options.data_set);
  require_known(options, set);
  options.run.timeout = std::chrono::milliseconds(static_cast<std::int64_t>(options.timeout_s * 1000));
  options.run.hardware = bench::this_machine().cpu;
  options.run.worker = {std::filesystem::read_symlink("/proc/self/exe").string(), "trace", "worker"};
  std::set<std::pair<std::string, std::string>> done;
  for (const auto& stored : set.traces()) done.emplace(*stored.item.solution, stored.item.workload.uuid);
  Counts counts;
  for (const auto& [name, stored] : set.definitions()) {
    if (!chosen(options.definitions, name)) continue;
    const trace::Definition definition = stored.item;
    for (const trace::Solution* solution : set.solutions_of(name)) {
      if (!chosen(options.solutions, solution->name) || !chosen(options.authors, solution->author)) continue;
      for (const trace::Workload* workload : set.workloads_of(name)) {
        if (options.resume && done.contains({solution->name, workload->uuid}))
          ++counts.kept;
        else
          run_pair(options, set, definition, *solution, *workload, counts);
      }
    }
  }
  fmt::print("{} passed, {} failed, {} skipped{}\n", counts.passed, counts.failed, counts.skipped,
             options.resume ? fmt::format(", {} had traces", counts.kept) : "");
  return counts.failed == 0 ? kOk : kFailed;
}

}  // namespace

void add_trace_run(CLI::App& trace, Action& action) {
  CLI::App* command =
      trace.add_subcommand("run", "Run solutions on workloads, judge and time them, and add the traces");
  auto options = std::make_shared<Options>();
  options->run.python = env::text(env::Variable::kPython).value_or("python3");
  command->add_option("data_set", options->data_set, "The folder of the data set")->required();
  command->add_option("--definitions", options->definitions, "Only these definitions");
  command->add_option("--solutions", options->solutions, "Only these solutions");
  command->add_option("--authors", options->authors, "Only solutions of these authors");
  command->add_option("--num-trials", options->run.rounds, "Timed rounds, each on new inputs")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  command->add_option("--iterations", options->run.calls, "Calls of a round, each on tensors of its own")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  command->add_option("--rtol", options->run.bounds.rtol, "Relative error that an element may have")
      ->capture_default_str();
  command->add_option("--atol", options->run.bounds.atol, "Absolute error that an element may have")
      ->capture_default_str();
  command
      ->add_option("--required-matched-ratio", options->run.bounds.required_matched_ratio,
                   "Share of the elements that must match")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--timeout", options->timeout_s, "Seconds that one request may take")
      ->check(CLI::Range(0.001, 1e6))
      ->capture_default_str();
  command->add_option("--random-seed", options->run.seed, "Seed of inputs and order")->capture_default_str();
  command->add_option("--python", options->run.python, "The interpreter that runs solutions and references")
      ->capture_default_str();
  command->add_flag("--resume", options->resume, "Leave out what has a trace");
  command->add_flag("--save-results,!--no-save-results", options->keep, "Add the traces to the data set");
  command->callback([&action, options] { action = [options] { return run(*options); }; });
  CLI::App* worker =
      trace.add_subcommand("worker", "What run starts for solutions in C++ and CUDA")->group("");
  worker->callback([&action] { action = trace::run_native_worker; });
}

}  // namespace strobe::cli
