#include "trace/run/evaluate.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <ctime>
#include <limits>
#include <numeric>
#include <thread>

#include "core/message.h"
#include "core/safetensors.h"
#include "trace/build/builder.h"
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

// The inputs of a workload: drawn anew for every round, or those of its files.
class Inputs {
 public:
  Inputs(const DataSet& set, const Definition& definition, const Workload& workload, std::uint64_t seed)
      : random_(seed) {
    for (const TensorSpec& spec : definition.inputs) {
      const WorkloadInput* input = workload.input(spec.name);
      if (input == nullptr)
        fail(ErrorKind::kInvalidArgument, "workload {}: input '{}' is missing", workload.uuid, spec.name);
      if (!spec.shape)
        scalars_.push_back(scalar(spec, *input));
      else if (const auto* file = std::get_if<FileInput>(input))
        files_.push_back(read_safetensors_tensor((set.root() / file->path).string(), file->tensor_key));
      else
        files_.emplace_back();
    }
  }
  const std::vector<ScalarValue>& scalars() const { return scalars_; }

  void fill(const TensorSets& sets) {
    for (int number = 0; number < sets.sets(); ++number) {
      std::size_t tensor = 0;
      for (std::size_t i = 0; i < sets.inputs().size(); ++i) {
        if (sets.inputs()[i].is_scalar) continue;
        const Tensor& file = files_[tensor++];
        const TensorView& target = sets.input(number, i);
        if (!file.view().given())
          op::fill_normal(target, random_);
        else
          copy(sets.inputs()[i].spec, file, target);
      }
    }
  }

 private:
  static void copy(const TensorSpec& spec, const Tensor& file, const TensorView& target) {
    const TensorView& view = file.view();
    if (view.dtype != target.dtype || view.rank != target.rank || view.shape != target.shape)
      fail(ErrorKind::kIo, "input '{}': expected {}, got {}", spec.name, describe(target), describe(view));
    std::memcpy(target.data, view.data, static_cast<std::size_t>(view.bytes()));
  }
  ScalarValue scalar(const TensorSpec& spec, const WorkloadInput& input) {
    if (const auto* given = std::get_if<ScalarInput>(&input)) {
      if (const auto* number = std::get_if<double>(&given->value);
          number != nullptr && !std::isfinite(*number))
        fail(ErrorKind::kUnsupported, "input '{}': a scalar that is not finite cannot be passed on",
             spec.name);
      return given->value;
    }
    if (spec.dtype == "bool") return random_.integer(0, 1) == 1;
    return spec.dtype.starts_with("int") ? ScalarValue(random_.integer(-1024, 1024))
                                         : ScalarValue(random_.normal());
  }

  op::Random random_;
  std::vector<ScalarValue> scalars_;
  std::vector<Tensor> files_;  // of the tensors; empty where they are drawn
};

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
        reference_sets_(sets_.inputs(), sets_.outputs(), compared_) {
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
      evaluation.status = Status::kPassed;
      evaluation.correctness = correctness();
      evaluation.performance = performance();
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
      reference_ = std::make_unique<WorkerProcess>(reference_program(options_.python, definition),
                                                   reference_sets_, options_.limits, options_.timeout);
      reference_->bind(inputs_.scalars());
    } catch (const Misbehaved& fault) {
      fail(ErrorKind::kInvalidArgument, "the reference of {} fails: {}", definition.name, fault.text);
    } catch (const ChildFailure& fault) {
      fail(ErrorKind::kInvalidArgument, "the reference of {} fails: {}", definition.name, fault.text);
    }
  }

  void start_solution() {
    try {
      process_ = std::make_unique<WorkerProcess>(
          is_native(solution_) ? native_program(options_.worker, options_.python, definition_, solution_)
                               : python_program(options_.python, solution_),
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
    // What a request with its calls takes by itself.
    std::vector<double> times;
    for (int i = 0; i < 9; ++i)
      watched([&] { times.push_back(static_cast<double>(process_->run_nothing(order()).count())); });
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
    for (int set = 0; set < sets_.sets(); ++set)
      for (std::size_t i = 0; i < sets_.outputs().size(); ++i) op::fill_poison(sets_.output(set, i));
    keep_inputs();
    const std::vector<int> calls = order();
    watched([&] {
      const double ns = static_cast<double>(process_->run(calls).count());
      if (timed)
        times_ms_.push_back(std::max(ns - empty_ns_, 1.0) / static_cast<double>(sets_.sets()) * 1e-6);
    });
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
        if (std::memcmp(original.data(), sets_.input(set, i).data, original.size()) != 0)
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
    for (int place = 0; place < compared_; ++place)
      for (std::size_t i = 0; i < sets_.outputs().size(); ++i)
        compare_output(chosen[static_cast<std::size_t>(place)], place, i);
    for (int set = 0; set < sets_.sets(); ++set)
      for (std::size_t i = 0; i < sets_.outputs().size(); ++i)
        if (sets_.outputs()[i].bytes > 0 && is_poisoned(sets_.output(set, i)))
          throw Verdict{Status::kIncorrectNumerical,
                        fmt::format("it leaves '{}' as it was in some calls", sets_.outputs()[i].spec.name),
                        infinite()};
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
      const double empty = static_cast<double>(reference_->run_nothing(places).count());
      const double ns = static_cast<double>(reference_->run(places).count());
      reference_ms_.push_back(std::max(ns - empty, 1.0) / static_cast<double>(places.size()) * 1e-6);
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
    const Comparison comparison = compare(got, want, options_.bounds);
    max_absolute_ = std::max(max_absolute_, comparison.max_absolute_error);
    max_relative_ = std::max(max_relative_, comparison.max_relative_error);
    if (comparison.passed(options_.bounds)) return;
    throw Verdict{Status::kIncorrectNumerical, why_wrong(set, place, number, comparison), correctness()};
  }

  // Names the ways to be wrong that are no accident.
  std::string why_wrong(int set, int place, std::size_t number, const Comparison& comparison) {
    const std::string& name = sets_.outputs()[number].spec.name;
    const TensorView got = sets_.output(set, number), want = reference_sets_.output(place, number);
    const std::vector<char>& before =
        outputs_before_[static_cast<std::size_t>(set) * sets_.outputs().size() + number];
    if (!times_ms_.empty() && std::memcmp(before.data(), got.data, before.size()) == 0)
      return fmt::format(
          "'{}' is what it wrote for other inputs in the round before: outputs are kept, not computed", name);
    const Tensor at_answer = copy_of(got);
    process_->child().go_on();  // does the result come later?
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    process_->child().stop();
    if (compare(got, want, options_.bounds).passed(options_.bounds))
      return fmt::format(
          "'{}' is right only some time after the answer: work goes on when the call has returned", name);
    if (is_poisoned(at_answer)) return fmt::format("it leaves '{}' as it was", name);
    return fmt::format("'{}': {} of {} elements are wrong (largest error {:.3g})", name, comparison.wrong,
                       comparison.elements, comparison.max_absolute_error);
  }
  static Tensor copy_of(const TensorView& view) {
    Tensor copy(view.dtype, std::span(view.shape.data(), static_cast<std::size_t>(view.rank)));
    std::memcpy(copy.as<void>(), view.data, static_cast<std::size_t>(view.bytes()));
    return copy;
  }

  Correctness correctness() const { return {max_relative_, max_absolute_, Json()}; }
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
  std::unique_ptr<WorkerProcess> reference_, process_;
  std::vector<std::vector<char>> originals_;       // inputs as they were drawn, set by set
  std::vector<std::vector<char>> outputs_before_;  // of the round before, set by set
  std::vector<double> times_ms_, reference_ms_;
  double empty_ns_ = 0, max_absolute_ = 0, max_relative_ = 0;
};

}  // namespace

Evaluation evaluate(const DataSet& set, const Definition& definition, const Solution& solution,
                    const Workload& workload, const RunOptions& options) {
  if (is_native(solution) && options.worker.empty())
    fail(ErrorKind::kUnsupported, "solution '{}': there is no program that runs {}", solution.name,
         solution.language);
  if (definition.op_type == "sampling")
    fail(ErrorKind::kUnsupported, "definition '{}': outputs that are random cannot be judged yet",
         definition.name);
  return Evaluator(set, definition, solution, workload, options).run();
}

}  // namespace strobe::trace
