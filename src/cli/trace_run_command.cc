// strobe trace run: solutions on workloads, judged by an arbiter that does not trust them.
#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <filesystem>
#include <memory>
#include <mutex>
#include <set>
#include <sstream>
#include <thread>

#include "bench/machine.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/device_flag.h"
#include "core/env.h"
#include "cuda/device.h"
#include "trace/data_set.h"
#include "trace/run/evaluate.h"
#include "trace/run/native_worker.h"
#include "trace/run/worker_process.h"

namespace strobe::cli {
namespace {

struct Options {
  std::string data_set;
  std::vector<std::string> definitions, solutions, authors;
  trace::RunOptions run;
  double timeout_s = 300;
  bool resume = false, keep = true;
  std::vector<std::string> devices = {"cpu"};
  std::vector<int> gpus;  // none: the CPU
};

std::vector<int> gpus_of(const std::vector<std::string>& devices) {
  std::vector<int> gpus;
  for (const std::string& text : devices) {
    const Device device = parse_device(text);
    if (device.type == DeviceType::kCuda) {
      (void)cuda::device_facts(device);  // that there is such a one
      gpus.push_back(device.index);
    } else if (devices.size() > 1) {
      throw Error(ErrorKind::kInvalidArgument, "--device: expected the CPU, or GPUs, got both");
    }
  }
  return gpus;
}

// GPUs that share the work must be alike, since a trace names one.
std::string name_of(const std::vector<int>& gpus) {
  const auto name = [](int gpu) {
    return cuda::device_facts({DeviceType::kCuda, static_cast<std::int8_t>(gpu)}).name;
  };
  for (const int gpu : gpus)
    if (name(gpu) != name(gpus[0]))
      throw Error(
          ErrorKind::kInvalidArgument,
          fmt::format("--device: expected GPUs of one kind, got {} and {}", name(gpus[0]), name(gpu)));
  return name(gpus[0]);
}

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
  int elsewhere = 0;  // solutions for other devices
};

struct Pair {
  const trace::Definition* definition;
  const trace::Solution* solution;
  const trace::Workload* workload;
};

bool runs_on(const trace::Solution& solution, bool gpu) {
  const auto is_cpu = [](const std::string& name) { return name == "CPU" || name == "cpu"; };
  const auto is_gpu = [](const std::string& name) {
    return name.starts_with("cuda") || name.starts_with("NVIDIA") || name.starts_with("nvidia");
  };
  const std::vector<std::string>& hardware = solution.target_hardware;
  const bool of_gpus = solution.language == "cuda" || solution.language == "triton" ||
                       solution.language == "tilelang" ||
                       std::all_of(hardware.begin(), hardware.end(), is_gpu);
  return gpu ? !std::all_of(hardware.begin(), hardware.end(), is_cpu) : !of_gpus;
}

// The pairs that are to run; adds what is left out to the counts.
std::vector<Pair> pairs_of(const Options& options, const trace::DataSet& set, Counts& counts) {
  std::set<std::pair<std::string, std::string>> done;  // on hardware as this
  for (const auto& stored : set.traces())
    if (stored.item.evaluation->environment.hardware == options.run.hardware)
      done.emplace(*stored.item.solution, stored.item.workload.uuid);
  std::vector<Pair> pairs;
  for (const auto& [name, stored] : set.definitions()) {
    if (!chosen(options.definitions, name)) continue;
    for (const trace::Solution* solution : set.solutions_of(name)) {
      if (!chosen(options.solutions, solution->name) || !chosen(options.authors, solution->author)) continue;
      if (!runs_on(*solution, !options.gpus.empty())) {
        ++counts.elsewhere;
        continue;
      }
      for (const trace::Workload* workload : set.workloads_of(name)) {
        if (options.resume && done.contains({solution->name, workload->uuid}))
          ++counts.kept;
        else
          pairs.push_back({&stored.item, solution, workload});
      }
    }
  }
  return pairs;
}

// Runs pairs on one device after the other, or on several at once: who is free takes the next one.
class Runner {
 public:
  Runner(const Options& options, trace::DataSet& set) : options_(options), set_(set) {
    pairs_ = pairs_of(options, set, counts_);
  }

  Counts run() {
    std::vector<std::thread> others;
    for (std::size_t i = 1; i < options_.gpus.size(); ++i)
      others.emplace_back([this, i] { run_on(options_.gpus[i]); });
    run_on(options_.gpus.empty() ? trace::kNoGpu : options_.gpus[0]);
    for (std::thread& other : others) other.join();
    if (failure_) std::rethrow_exception(failure_);
    return counts_;
  }

 private:
  void run_on(int gpu) {
    trace::RunOptions options = options_.run;
    options.gpu = gpu;
    try {
      while (const std::optional<Pair> pair = next()) run_pair(*pair, options);
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
    }
  }
  std::optional<Pair> next() {
    const std::lock_guard lock(mutex_);
    if (failure_ || next_ == pairs_.size()) return {};
    return pairs_[next_++];
  }

  void run_pair(const Pair& pair, const trace::RunOptions& options) {
    try {
      const trace::Trace trace{
          pair.definition->name, *pair.workload, pair.solution->name,
          trace::evaluate(set_, *pair.definition, *pair.solution, *pair.workload, options)};
      const std::lock_guard lock(mutex_);
      fmt::print("[{}/{}] {}", ++finished_, pairs_.size(), row(trace));
      std::fflush(stdout);
      if (options_.keep) set_.add(trace);
      ++(trace.evaluation->status == trace::Status::kPassed ? counts_.passed : counts_.failed);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kUnsupported) throw;
      const std::lock_guard lock(mutex_);
      fmt::print("[{}/{}] skipped             {} on {} {}: {}\n", ++finished_, pairs_.size(),
                 pair.solution->name, pair.definition->name, pair.workload->uuid, error.what());
      ++counts_.skipped;
    }
  }

  const Options& options_;
  trace::DataSet& set_;
  std::vector<Pair> pairs_;
  std::mutex mutex_;
  std::size_t next_ = 0, finished_ = 0;
  Counts counts_;
  std::exception_ptr failure_;
};

int run(Options options) {
  trace::DataSet set(options.data_set);
  require_known(options, set);
  options.run.timeout = std::chrono::milliseconds(static_cast<std::int64_t>(options.timeout_s * 1000));
  options.run.worker = {std::filesystem::read_symlink("/proc/self/exe").string(), "trace", "worker"};
  options.gpus = gpus_of(options.devices);
  options.run.hardware = options.gpus.empty() ? bench::this_machine().cpu : name_of(options.gpus);
  const Counts counts = Runner(options, set).run();
  fmt::print(
      "{} passed, {} failed, {} skipped{}{}\n", counts.passed, counts.failed, counts.skipped,
      options.resume ? fmt::format(", {} had traces", counts.kept) : "",
      counts.elsewhere > 0 ? fmt::format("; {} solutions are for other devices", counts.elsewhere) : "");
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
  command->add_option("--device", options->devices, "cpu, cuda:0, or several GPUs: cuda:0,cuda:1")
      ->delimiter(',')
      ->capture_default_str();
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
