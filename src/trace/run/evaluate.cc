#include "trace/run/evaluate.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <ctime>
#include <limits>
#include <numeric>
#include <thread>

#include "core/message.h"
#include "core/read.h"
#include "trace/build/builder.h"
#include "trace/run/inputs.h"
#include "trace/run/sampling.h"
#include "trace/run/worker_process.h"

namespace strobe::trace {
namespace {

using std::chrono::nanoseconds;

// What ends an evaluation that does not pass.
struct Verdict {
  Status status;
  std::string text;
  std::optional<Correctness> correctness;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

std::string now_text() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

class Evaluator {
 public:
  Evaluator(const DataSet& set, const Definition& definition, const Solution& solution,
            const Workload& workload, const RunOptions& options)
      : options_(options),
        definition_(definition),
        solution_(solution),
        random_(options.seed ^ 0x5eed),
        inputs_(set, definition, workload, options.seed),
        sets_(slots_of(definition.inputs, definition, workload),
              slots_of(definition.outputs, definition, workload), sets_for(definition, workload, options)),
        compared_(std::min(options.compared_sets, sets_.sets())),
        reference_sets_(sets_.inputs(), sets_.outputs(), compared_),
        samples_(is_sampling(definition)) {
    start_reference(definition);
  }

  Evaluation run() {
    Evaluation evaluation{.environment = {options_.hardware, {}},
                          .timestamp = now_text(),
                          .log = {},
                          .correctness = {},
                          .performance = {}};
    try {
      start_solution();
      evaluation.environment.libs = process_->libs();
      for (int round = 0; round <= options_.rounds; ++round) run_round(round > 0);
      check_samples();
      measure_wall();
      evaluation.status = Status::kPassed;
      evaluation.correctness = correctness();
      evaluation.performance = performance();
      evaluation.log = doubt(evaluation.performance->latency_ms);
    } catch (const Verdict& verdict) {
      evaluation.status = verdict.status;
      evaluation.log = verdict.text;
      evaluation.correctness = verdict.correctness;
    }
    if (process_) {
      process_->child().stop();
      if (const std::string printed = process_->child().printed(); !printed.empty())
        evaluation.log += (evaluation.log.empty() ? "" : "\n") + printed;
    }
    return evaluation;
  }

 private:
  static int sets_for(const Definition& definition, const Workload& workload, const RunOptions& options) {
    const std::size_t bytes = TensorSets::bytes_of_set(slots_of(definition.inputs, definition, workload),
                                                       slots_of(definition.outputs, definition, workload));
    return static_cast<int>(std::clamp<std::size_t>(options.tensor_bytes / std::max<std::size_t>(bytes, 1), 1,
                                                    static_cast<std::size_t>(options.calls)));
  }

  void start_reference(const Definition& definition) {
    try {
      reference_ =
          std::make_unique<WorkerProcess>(reference_program(options_.python, definition, options_.gpu),
                                          reference_sets_, options_.limits, options_.reference_timeout);
      reference_->bind(inputs_.scalars());
    } catch (const Misbehaved& fault) {
      const std::size_t missing = fault.text.find("No module named");
      if (missing != std::string::npos)
        fail(ErrorKind::kUnsupported, "the reference of {} cannot run with {}: {}", definition.name,
             options_.python, fault.text.substr(missing, fault.text.find('\n', missing) - missing));
      fail(ErrorKind::kInvalidArgument, "the reference of {} fails: {}", definition.name, fault.text);
    } catch (const ChildFailure& fault) {
      fail(ErrorKind::kInvalidArgument, "the reference of {} fails: {}", definition.name, fault.text);
    }
  }

  void start_solution() {
    try {
      process_ = std::make_unique<WorkerProcess>(
          is_native(solution_)
              ? native_program(options_.worker, options_.python, definition_, solution_, options_.gpu)
              : python_program(options_.python, solution_, options_.gpu),
          sets_, options_.limits, options_.timeout);
    } catch (const Misbehaved& fault) {
      if (fault.kind == "unsupported") fail(ErrorKind::kUnsupported, "{}", fault.text);
      throw Verdict{Status::kCompileError, fault.text, {}};
    } catch (const ChildFailure& fault) {
      throw Verdict{fault.kind == ChildFailure::Kind::kTimeout ? Status::kTimeout : Status::kCompileError,
                    "while it was loaded: " + fault.text,
                    {}};
    }
    watched([&] { process_->bind(inputs_.scalars()); });
    if (on_gpu()) return;
    // What a request with its calls takes by itself.
    std::vector<double> times;
    for (int i = 0; i < 9; ++i)
      watched([&] { times.push_back(static_cast<double>(process_->run_nothing(order()).request.count())); });
    empty_ns_ = median(times);
  }

  // Runs `request` and turns what goes wrong into a verdict.
  template <class F>
  void watched(const F& request) {
    try {
      request();
    } catch (const Misbehaved& fault) {
      throw Verdict{fault.kind == "shape"   ? Status::kIncorrectShape
                    : fault.kind == "dtype" ? Status::kIncorrectDtype
                                            : Status::kRuntimeError,
                    fault.text,
                    {}};
    } catch (const ChildFailure& fault) {
      throw Verdict{fault.kind == ChildFailure::Kind::kTimeout ? Status::kTimeout : Status::kRuntimeError,
                    fault.text,
                    {}};
    }
  }

  void run_round(bool timed) {
    keep_outputs();
    inputs_.fill(sets_);
    sets_.write_guards();
    poison_outputs();
    keep_inputs();
    const std::vector<int> calls = order();
    watched([&] { call(calls, timed); });
    // The session stands still: what is not there now was not there when it answered.
    if (const std::vector<std::string> others = process_->child().others(); !others.empty())
      throw Verdict{Status::kRuntimeError,
                    fmt::format("{} processes that it has started are there after its call: {}",
                                others.size(), others[0]),
                    {}};
    if (!solution_.destination_passing_style) watched([&] { process_->collect(); });
    check_memory();
    compare_sets();
  }

  bool on_gpu() const { return options_.gpu != kNoGpu; }

  void call(const std::vector<int>& calls, bool timed) {
    if (on_gpu() && !timed) return process_->run_late(calls);
    const WorkerProcess::Times times = process_->run(calls);
    if (!timed) return;
    if (on_gpu() && times.gpu_ms.size() != calls.size())
      throw ChildFailure{ChildFailure::Kind::kMalformedAnswer, "its answer lacks times"};
    times_ms_.push_back(on_gpu() ? median(times.gpu_ms) : per_call(times.request, empty_ns_, sets_.sets()));
  }
  // What a reader should know of a time on a GPU, which is the solution's process's own.
  std::string doubt(double latency_ms) const {
    constexpr double kRatio = 2, kHostMs = 1;
    if (wall_ms_ <= kRatio * latency_ms + kHostMs) return "";
    return fmt::format(
        "a call takes {:.3g} ms by the arbiter's clock, of which the GPU is said to take {:.3g}", wall_ms_,
        latency_ms);
  }

  // Where the request alone took as long, its whole time: an upper bound.
  static double per_call(nanoseconds request, double empty_ns, int calls) {
    const auto ns = static_cast<double>(request.count());
    return (ns > empty_ns ? ns - empty_ns : ns) / calls * 1e-6;
  }

  // What the calls take by the arbiter's clock, on a GPU from launch to end.
  void measure_wall() {
    if (!on_gpu()) return;
    watched([&] { wall_ms_ = per_call(process_->run_through(order()).request, 0, sets_.sets()); });
  }

  std::vector<int> order() {
    std::vector<int> calls(static_cast<std::size_t>(sets_.sets()));
    std::iota(calls.begin(), calls.end(), 0);
    for (std::size_t i = calls.size(); i > 1; --i)
      std::swap(calls[i - 1],
                calls[static_cast<std::size_t>(random_.integer(0, static_cast<std::int64_t>(i) - 1))]);
    return calls;
  }

  // What the solution has written in the round before.
  void keep_outputs() {
    outputs_before_.clear();
    for (int set = 0; set < sets_.sets(); ++set)
      for (std::size_t i = 0; i < sets_.outputs().size(); ++i) {
        const char* bytes = sets_.output(set, i).as<char>();
        outputs_before_.emplace_back(bytes, bytes + sets_.outputs()[i].bytes);
      }
  }

  void keep_inputs() {
    originals_.clear();
    for (int set = 0; set < sets_.sets(); ++set)
      for (std::size_t i = 0; i < sets_.inputs().size(); ++i) {
        const TensorView& view = sets_.input(set, i);
        const char* bytes = view.as<char>();
        originals_.emplace_back(bytes, bytes + sets_.inputs()[i].bytes);
      }
  }

  void check_memory() {
    if (const std::optional<std::string> name = sets_.broken_guard())
      throw Verdict{
          Status::kRuntimeError, fmt::format("it writes outside of its tensors, beside '{}'", *name), {}};
    std::size_t number = 0;
    for (int set = 0; set < sets_.sets(); ++set)
      for (std::size_t i = 0; i < sets_.inputs().size(); ++i) {
        const std::vector<char>& original = originals_[number++];
        if (!std::equal(original.begin(), original.end(), sets_.input(set, i).as<char>()))
          throw Verdict{Status::kRuntimeError,
                        fmt::format("it changes its input '{}'", sets_.inputs()[i].spec.name),
                        {}};
      }
  }

  // Compares some sets of this round, which nobody could know before, with the reference.
  void compare_sets() {
    std::vector<int> chosen = order();
    chosen.resize(static_cast<std::size_t>(compared_));
    run_reference(chosen);
    if (samples_) {
      take_samples();
    } else {
      for (int place = 0; place < compared_; ++place)
        for (std::size_t i = 0; i < sets_.outputs().size(); ++i)
          compare_output(chosen[static_cast<std::size_t>(place)], place, i);
    }
    for (int set = 0; set < sets_.sets(); ++set)
      for (std::size_t i = 0; i < sets_.outputs().size(); ++i)
        if (sets_.outputs()[i].bytes > 0 && is_poisoned(sets_.output(set, i)))
          throw Verdict{Status::kIncorrectNumerical,
                        fmt::format("it leaves '{}' as it was in some calls", sets_.outputs()[i].spec.name),
                        infinite()};
  }

  // Samples of some rows of the round, each held against what its row allows.
  void take_samples() {
    constexpr std::int64_t kMostRows = 256;
    const TensorSpec* names[] = {definition_.input("probs"), definition_.input("top_k"),
                                 definition_.input("top_p")};
    const auto number_of = [&](const TensorSpec* spec) {
      return static_cast<std::size_t>(spec - definition_.inputs.data());
    };
    std::int64_t rows = 0;
    for (const int set : order()) {
      const TensorView probabilities = sets_.input(set, number_of(names[0])), drawn = sets_.output(set, 0);
      const std::int64_t vocabulary = probabilities.shape[1];
      for (std::int64_t row = 0; row < probabilities.shape[0] && rows < kMostRows; ++row, ++rows) {
        const auto given = [&](const TensorSpec* spec, double otherwise) {
          if (spec == nullptr) return otherwise;
          const TensorView view = sets_.input(set, number_of(spec));
          return read_element(view.data, view.dtype, view.size() == 1 ? 0 : row);
        };
        const auto sample = static_cast<std::int64_t>(read_element(drawn.data, drawn.dtype, row));
        const Filter filter{static_cast<std::int64_t>(given(names[1], 0)), given(names[2], 1)};
        if (const std::optional<std::string> problem = sample_test_.add(
                {probabilities.as<float>() + row * vocabulary, static_cast<std::size_t>(vocabulary)}, filter,
                sample))
          throw Verdict{Status::kIncorrectNumerical,
                        fmt::format("'{}', row {}: {}", definition_.outputs[0].name, row, *problem),
                        infinite()};
      }
    }
  }

  void check_samples() {
    if (samples_ && sample_test_.excess() > SampleTest::kMostExcess)
      throw Verdict{
          Status::kIncorrectNumerical,
          fmt::format(
              "its samples do not follow the probabilities (total variation {:.3g}, chi-square {:.1f} "
              "standard deviations too large)",
              sample_test_.total_variation(), sample_test_.excess()),
          correctness()};
  }

  void run_reference(const std::vector<int>& chosen) {
    std::vector<int> places(chosen.size());
    std::iota(places.begin(), places.end(), 0);
    for (std::size_t place = 0; place < chosen.size(); ++place)
      for (std::size_t i = 0; i < sets_.inputs().size(); ++i)
        if (sets_.inputs()[i].bytes > 0)
          std::memcpy(reference_sets_.input(static_cast<int>(place), i).data,
                      originals(chosen[place], i).data(), sets_.inputs()[i].bytes);
    try {
      const double empty =
          on_gpu() ? 0 : static_cast<double>(reference_->run_nothing(places).request.count());
      const WorkerProcess::Times times = reference_->run(places);
      reference_ms_.push_back(times.gpu_ms.empty() ? per_call(times.request, empty, compared_)
                                                   : median(times.gpu_ms));
      reference_->collect();
    } catch (const Misbehaved& fault) {
      fail(ErrorKind::kInvalidArgument, "the reference fails: {}", fault.text);
    } catch (const ChildFailure& fault) {
      fail(ErrorKind::kInvalidArgument, "the reference fails: {}", fault.text);
    }
  }
  const std::vector<char>& originals(int set, std::size_t input) const {
    return originals_[static_cast<std::size_t>(set) * sets_.inputs().size() + input];
  }

  void compare_output(int set, int place, std::size_t number) {
    const TensorView got = sets_.output(set, number), want = reference_sets_.output(place, number);
    const Judgement judgement = judge(rule(number), got, want, options_.bounds);
    const Comparison& comparison = judgement.comparison;
    max_absolute_ = std::max(max_absolute_, comparison.max_absolute_error);
    max_relative_ = std::max(max_relative_, comparison.max_relative_error);
    if (comparison.elements > 0)
      matched_ = std::min(
          matched_, 1 - static_cast<double>(comparison.wrong) / static_cast<double>(comparison.elements));
    if (judgement.problem.empty()) return;
    throw Verdict{Status::kIncorrectNumerical, why_wrong(set, place, number, judgement.problem),
                  correctness()};
  }

  // Names the ways to be wrong that are no accident.
  std::string why_wrong(int set, int place, std::size_t number, const std::string& problem) {
    const std::string& name = sets_.outputs()[number].spec.name;
    const TensorView got = sets_.output(set, number), want = reference_sets_.output(place, number);
    const std::vector<char>& before =
        outputs_before_[static_cast<std::size_t>(set) * sets_.outputs().size() + number];
    if (!times_ms_.empty() && std::memcmp(before.data(), got.data, before.size()) == 0)
      return fmt::format(
          "'{}' is what it wrote for other inputs in the round before: outputs are kept, not computed", name);
    const Tensor at_answer = copy_of(got);
    if (on_gpu() && times_ms_.empty() && is_right_when_the_gpu_waits(set, place, number))
      return fmt::format(
          "'{}' is right only when the GPU has come to rest before the call: it works outside of the stream "
          "that it is given",
          name);
    process_->child().go_on();  // does the result come later?
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    process_->child().stop();
    if (judge(rule(number), got, want, options_.bounds).problem.empty())
      return fmt::format(
          "'{}' is right only some time after the answer: work goes on when the call has returned", name);
    if (is_poisoned(at_answer)) return fmt::format("it leaves '{}' as it was", name);
    return fmt::format("'{}': {}", name, problem);
  }
  bool is_right_when_the_gpu_waits(int set, int place, std::size_t number) {
    poison_outputs();
    watched([&] { process_->run_waiting(order()); });
    return judge(rule(number), sets_.output(set, number), reference_sets_.output(place, number),
                 options_.bounds)
        .problem.empty();
  }
  Rule rule(std::size_t output) const { return rule_of(definition_, definition_.outputs[output]); }
  void poison_outputs() {
    for (int set = 0; set < sets_.sets(); ++set)
      for (std::size_t i = 0; i < sets_.outputs().size(); ++i) op::fill_poison(sets_.output(set, i));
  }

  static Tensor copy_of(const TensorView& view) {
    Tensor copy(view.dtype, std::span(view.shape.data(), static_cast<std::size_t>(view.rank)));
    std::memcpy(copy.as<void>(), view.data, static_cast<std::size_t>(view.bytes()));
    return copy;
  }

  Correctness correctness() const {
    Json extra;
    if (wall_ms_ > 0) extra["wall_latency_ms"] = wall_ms_;
    if (samples_) extra["tvd"] = sample_test_.total_variation();
    if (rule(0) == Rule::kLowBit || rule(0) == Rule::kIndexSets) extra["matched_ratio"] = matched_;
    return {max_relative_, max_absolute_, extra};
  }
  static Correctness infinite() {
    return {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::infinity(), Json()};
  }
  Performance performance() const {
    const double latency = median(times_ms_), reference = median(reference_ms_);
    return {latency, reference, reference / latency};
  }

  const RunOptions& options_;
  const Definition& definition_;
  const Solution& solution_;
  op::Random random_;
  Inputs inputs_;
  TensorSets sets_;
  int compared_;
  TensorSets reference_sets_;
  bool samples_;
  SampleTest sample_test_;
  std::unique_ptr<WorkerProcess> reference_, process_;
  std::vector<std::vector<char>> originals_;       // inputs as they were drawn, set by set
  std::vector<std::vector<char>> outputs_before_;  // of the round before, set by set
  std::vector<double> times_ms_, reference_ms_;
  double empty_ns_ = 0, wall_ms_ = 0, max_absolute_ = 0, max_relative_ = 0, matched_ = 1;
};

void require_sampling_operands(const Definition& definition) {
  const TensorSpec* probabilities = definition.input("probs");
  const bool known = probabilities != nullptr && probabilities->dtype == "float32" && probabilities->shape &&
                     probabilities->shape->size() == 2 && definition.outputs.size() == 1 &&
                     definition.outputs[0].shape && definition.outputs[0].shape->size() == 1 &&
                     definition.outputs[0].dtype.starts_with("int");
  if (!known)
    fail(ErrorKind::kUnsupported,
         "definition '{}': samples are judged for probs [batch, vocabulary] of float32 and one output of "
         "integers "
         "[batch]",
         definition.name);
}

}  // namespace

Evaluation evaluate(const DataSet& set, const Definition& definition, const Solution& solution,
                    const Workload& workload, const RunOptions& options) {
  if (is_native(solution) && options.worker.empty())
    fail(ErrorKind::kUnsupported, "solution '{}': there is no program that runs {}", solution.name,
         solution.language);
  if (solution.language == "cuda" && options.gpu == kNoGpu)
    fail(ErrorKind::kUnsupported, "solution '{}': cuda needs a GPU; --device cuda:0", solution.name);
  if (is_sampling(definition)) require_sampling_operands(definition);
  return Evaluator(set, definition, solution, workload, options).run();
}

}  // namespace strobe::trace
