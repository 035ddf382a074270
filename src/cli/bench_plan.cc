#include "cli/bench_plan.h"

#include <algorithm>

#include "bench/backends.h"
#include "bench/flashinfer/translate.h"
#include "bench/gpu/gpu_case.h"
#include "bench/gpu/kernel_recorder.h"
#include "bench/machine.h"
#include "bench/suites.h"
#include "bench/test_list.h"
#include "bench/text_file.h"
#include "cli/device_flag.h"
#include "core/message.h"

namespace strobe::cli {
namespace {

using namespace bench;  // NOLINT: this file makes that namespace's plans

std::vector<cpu::Isa> parse_isa(const std::vector<std::string>& names) {
  const std::vector<cpu::Isa> levels = this_machine().isa_levels;
  std::vector<std::string_view> known;
  for (cpu::Isa level : levels) known.push_back(cpu::name(level));
  std::vector<cpu::Isa> result;
  for (const std::string& name : names) {
    const auto found = std::find(known.begin(), known.end(), name);
    if (found == known.end())
      fail(ErrorKind::kInvalidArgument, "--isa: expected levels that this machine runs ({}), got '{}'",
           fmt::join(known, ", "), name);
    result.push_back(levels[static_cast<std::size_t>(found - known.begin())]);
  }
  return result;
}

void add_note(std::string note, BenchPlan& plan) {
  if (std::find(plan.notes.begin(), plan.notes.end(), note) == plan.notes.end())
    plan.notes.push_back(std::move(note));
}

BackendChoice choose(const CaseOptions& options, BenchPlan& plan) {
  const Device device = parse_device(options.device);
  for (const std::string& note : options.notes) add_note(note, plan);
  if (!options.isa.empty()) {
    if (device.type != DeviceType::kCpu)
      fail(ErrorKind::kInvalidArgument, "--isa: levels are the CPU's, and --device says {}", options.device);
    return {.levels = parse_isa(options.isa), .gpu = {}, .gpu_backends = {}, .notes = {}};
  }
  BackendChoice choice = choose_backends(options.backends, device);
  for (const std::string& note : choice.notes) add_note(note, plan);
  return choice;
}

template <class Value>
void add_once(std::vector<Value>& list, const Value& value) {
  if (std::find(list.begin(), list.end(), value) == list.end()) list.push_back(value);
}

// Why the case cannot run as chosen; empty when it can.
std::string without_backend(const PlannedCase& planned, const BackendChoice& choice) {
  if (choice.gpu_backends.empty() || !planned.gpu_backends.empty()) return {};
  std::vector<std::string_view> wanted;
  for (Backend backend : choice.gpu_backends)
    wanted.push_back(backend == Backend::kAuto ? "CUDA" : name(backend));
  return fmt::format("{} has no {} backend", planned.bench_case.routine.routine.name,
                     fmt::join(wanted, " or "));
}

void choose_gpu_clock(PlannedCase& planned, BenchPlan& plan) {
  GpuClock& clock = planned.options.gpu_clock;
  const bool asked = planned.options.use_cupti && clock == GpuClock::kEvents;
  if (planned.gpu_backends.empty()) {
    if (asked) add_note("--use_cupti changes nothing: a CPU is timed by the host's clock", plan);
    if (clock != GpuClock::kEvents)
      add_note(fmt::format("--timing {} changes nothing on a CPU", name(clock)), plan);
    return;
  }
  if (clock == GpuClock::kCupti && !cupti_problem().empty())
    fail(ErrorKind::kUnsupported, "--timing cupti: {}", cupti_problem());
  if (asked && cupti_problem().empty()) clock = GpuClock::kCupti;
  if (asked && !cupti_problem().empty())
    add_note(fmt::format("--use_cupti changes nothing: {}; events are used", cupti_problem()), plan);
}

// A suite goes on without what a GPU does not run.
void add_case(BenchCase bench_case, const CaseOptions& options, bool of_suite, BenchPlan& plan) {
  const BackendChoice choice = choose(options, plan);
  PlannedCase planned{.bench_case = std::move(bench_case),
                      .options = options.run,
                      .levels = choice.levels,
                      .gpu = choice.gpu,
                      .gpu_backends = {}};
  if (!choice.gpu_backends.empty())
    planned.gpu_backends = gpu_backends(*planned.bench_case.routine.op, choice.gpu, choice.gpu_backends);
  if (const std::string reason = without_backend(planned, choice); !reason.empty()) {
    if (!of_suite && planned.levels.empty())
      fail(ErrorKind::kUnsupported, "{}; on {} run: {}", reason, to_string(choice.gpu),
           fmt::join(gpu_routines(choice.gpu), ", "));
    add_note(fmt::format("left out on {}: {}", to_string(choice.gpu), reason), plan);
  }
  if (planned.levels.empty() && planned.gpu_backends.empty()) return;
  if (options.num_iters_given || options.run.measure.budget) planned.bench_case.num_iters.reset();
  for (cpu::Isa level : planned.levels) add_once(plan.session.levels, level);
  if (!planned.gpu_backends.empty()) add_once(plan.session.gpus, planned.gpu);
  choose_gpu_clock(planned, plan);
  plan.session.cases.push_back(std::move(planned));
}

// A line of Strobe's, or one that was written for FlashInfer's benchmark.
void add_line(const CaseOptions& options, std::span<const std::string> words, std::string origin,
              BenchPlan& plan) {
  std::optional<flashinfer::Translation> theirs = flashinfer::translate(options.routine, words);
  BenchCase bench_case = theirs ? std::move(theirs->bench_case) : parse_case(options.routine, words);
  bench_case.origin = std::move(origin);
  if (theirs)
    for (std::string& note : theirs->notes) add_note(std::move(note), plan);
  add_case(std::move(bench_case), options, false, plan);
}

// `given`: the command line's, for what the line does not say.
CaseOptions parse_test_line(std::vector<std::string> words, const CaseOptions& given,
                            std::vector<std::string>& extra_words) {
  CaseOptions options = given;
  options.isa.clear();
  options.backends.clear();
  CLI::App line;
  line.set_help_flag();
  line.allow_extras();
  add_case_options(line, options);
  try {
    std::reverse(words.begin(), words.end());  // as CLI11 takes them
    line.parse(words);
  } catch (const CLI::ParseError& error) {
    fail(ErrorKind::kInvalidArgument, "{}", error.what());
  }
  if (options.isa.empty() && options.backends.empty()) {
    options.isa = given.isa;
    options.backends = given.backends;
  }
  extra_words = line.remaining();
  for (const char* flag : {"--suite", "--testlist", "--workload", "--requests", "--threads", "--report",
                           "--json", "--csv", "--output_path", "--flashinfer-output", "--list"})
    if (std::find(extra_words.begin(), extra_words.end(), flag) != extra_words.end())
      fail(ErrorKind::kInvalidArgument, "{} is for the whole run: it cannot stand in a test list", flag);
  if (options.routine.empty()) fail(ErrorKind::kInvalidArgument, "expected --routine NAME");
  return options;
}

void add_test_list(const BenchOptions& options, BenchPlan& plan) {
  std::vector<TestLine> lines = parse_test_list(read_text_file(options.testlist));
  if (lines.empty()) fail(ErrorKind::kInvalidArgument, "{}: the test list has no cases", options.testlist);
  for (TestLine& line : lines) {
    const std::string origin = fmt::format("{}, line {}", options.testlist, line.number);
    try {
      if (!line.error.empty()) fail(ErrorKind::kInvalidArgument, "{}", line.error);
      std::vector<std::string> extra_words;
      const CaseOptions own = parse_test_line(std::move(line.words), options.one, extra_words);
      add_line(own, extra_words, origin, plan);
    } catch (const Error& error) {
      plan.errors.push_back(fmt::format("{}: {}", origin, error.what()));
    }
  }
}

void add_workload(const BenchOptions& options, std::span<const std::string> extra_words, BenchPlan& plan) {
  if (!options.csv.empty())
    fail(ErrorKind::kInvalidArgument, "--csv: a workload has no rows; --json writes its steps");
  const BackendChoice choice = choose(options.one, plan);
  if (!choice.gpu_backends.empty()) fail(ErrorKind::kUnsupported, "a workload runs on the CPU only");
  plan.session.levels = choice.levels;
  if (plan.session.levels.size() > 1)
    fail(ErrorKind::kInvalidArgument, "--isa: expected one level for a workload, got {}",
         plan.session.levels.size());
  plan.session.workload_refcheck = options.one.run.refcheck;
  plan.session.workload =
      plan_workload(options.workload, options.requests, extra_words, options.one.run.random_seed);
}

}  // namespace

BenchPlan make_plan(const BenchOptions& options, std::span<const std::string> extra_words) {
  BenchPlan plan;
  if (!options.workload.empty() || !options.requests.empty()) {
    add_workload(options, extra_words, plan);
    return plan;
  }
  if (!options.one.routine.empty()) {
    add_line(options.one, extra_words, "", plan);
    return plan;
  }
  if (options.suite.empty() && options.testlist.empty())
    fail(ErrorKind::kInvalidArgument,
         "bench: expected --list, --suite NAME, --routine NAME, --testlist FILE, --workload NAME or "
         "--requests FILE");
  if (!extra_words.empty())
    fail(ErrorKind::kInvalidArgument, "bench: unknown flag '{}' for a {}", extra_words.front(),
         options.suite.empty() ? "test list" : "suite");
  if (!options.testlist.empty()) add_test_list(options, plan);
  if (!options.suite.empty())
    for (BenchCase& bench_case : suite_cases(options.suite))
      add_case(std::move(bench_case), options.one, true, plan);
  return plan;
}

}  // namespace strobe::cli
