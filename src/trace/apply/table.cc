#include "trace/apply/table.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "core/message.h"

namespace strobe::trace {
namespace {

constexpr std::array<std::string_view, 3> kPolicies = {"fallback_only", "nearest", "use_def_best"};
constexpr std::array<std::string_view, 5> kRoutes = {"exact", "nearest", "definition's best", "not measured",
                                                     "no traces"};

// Sizes of capacities, which a nearest match passes over.
bool is_capacity(std::string_view axis) { return axis == "num_pages" || axis == "max_num_pages"; }

// Why a passed trace cannot be used; empty when it can.
std::string fault_of(const Evaluation& evaluation, const TableOptions& options) {
  if (evaluation.status != Status::kPassed) return fmt::format("status {}", name(evaluation.status));
  const Correctness& errors = *evaluation.correctness;  // NaN is beyond any bound
  if (!(errors.max_absolute_error <= options.max_absolute_error))
    return fmt::format("absolute error above {}", options.max_absolute_error);
  if (!(errors.max_relative_error <= options.max_relative_error))
    return fmt::format("relative error above {}", options.max_relative_error);
  if (!std::isfinite(evaluation.performance->latency_ms)) return "a latency that is not finite";
  return {};
}

std::optional<AxisValues> values_of(const std::vector<std::string>& axes, const Workload& workload) {
  AxisValues values;
  for (const std::string& axis : axes) {
    const std::optional<std::int64_t> value = workload.axis(axis);
    if (!value) return std::nullopt;
    values.push_back(*value);
  }
  return values;
}

// The last trace of every solution on every workload, by hardware, sizes and solution.
struct Place {
  std::string hardware;
  AxisValues axes;
  const Solution* solution;
  auto operator<=>(const Place&) const = default;
};
using LastTraces = std::map<Place, std::map<std::string, const Evaluation*>>;

// A solution's time for some sizes; adds to `left_out` what does not count.
std::optional<Candidate> candidate(const Solution& solution,
                                   const std::map<std::string, const Evaluation*>& by_workload,
                                   const TableOptions& options, std::map<std::string, int>& left_out) {
  Candidate result{.solution = &solution};
  int faults = 0;
  for (const auto& [uuid, evaluation] : by_workload) {
    if (const std::string fault = fault_of(*evaluation, options); !fault.empty()) {
      ++left_out[fault];
      ++faults;
    } else {
      result.latency_ms += evaluation->performance->latency_ms;
      ++result.workloads;
    }
  }
  if (faults > 0) {
    if (result.workloads > 0)
      left_out["the solution fails on another workload of these sizes"] += result.workloads;
    return std::nullopt;
  }
  result.latency_ms /= result.workloads;
  return result;
}

const Solution* winner_of_most(const Measurements& measurements) {
  std::map<std::string_view, std::pair<int, const Solution*>> wins;
  for (const auto& [axes, candidates] : measurements.by_axes) {
    auto& [count, solution] = wins[candidates.front().solution->name];
    ++count;
    solution = candidates.front().solution;
  }
  const Solution* best = nullptr;
  int most = 0;
  for (const auto& [name, won] : wins)
    if (won.first > most) std::tie(most, best) = won;
  return best;
}

}  // namespace

std::string_view name(MissPolicy policy) { return kPolicies[static_cast<std::size_t>(policy)]; }
std::string_view name(Route route) { return kRoutes[static_cast<std::size_t>(route)]; }

MissPolicy parse_miss_policy(std::string_view text) {
  const auto found = std::find(kPolicies.begin(), kPolicies.end(), text);
  if (found == kPolicies.end())
    fail(ErrorKind::kInvalidArgument, "apply: on_miss: expected one of {}, got '{}'",
         fmt::join(kPolicies, ", "), text);
  return static_cast<MissPolicy>(found - kPolicies.begin());
}

std::vector<std::string> variable_axes(const Definition& definition) {
  std::vector<std::string> names;
  for (const Axis& axis : definition.axes)
    if (!axis.value) names.push_back(axis.name);
  return names;
}

ApplyTable::ApplyTable(const DataSet& set, const TableOptions& options) : set_(&set), options_(options) {
  for (const auto& [definition_name, stored] : set.definitions()) {
    const std::vector<std::string> axes = variable_axes(stored.item);
    ByHardware& by_hardware = definitions_[definition_name];
    LastTraces traces;
    for (const Trace* trace : set.traces_of(definition_name)) {
      const std::string& hardware = trace->evaluation->environment.hardware;
      const Solution* solution = set.solution(*trace->solution);
      const std::optional<AxisValues> values = values_of(axes, trace->workload);
      if (solution == nullptr || solution->definition != definition_name)
        ++by_hardware[hardware].left_out["the solution is not in the data set"];
      else if (!values)
        ++by_hardware[hardware].left_out["an axis has no value"];
      else
        traces[{hardware, *values, solution}][trace->workload.uuid] = &*trace->evaluation;
    }
    for (const auto& [place, by_workload] : traces) {
      Measurements& measurements = by_hardware[place.hardware];
      if (const auto found = candidate(*place.solution, by_workload, options_, measurements.left_out))
        measurements.by_axes[place.axes].push_back(*found);
    }
    for (auto& [hardware, measurements] : by_hardware) {
      for (auto& [values, candidates] : measurements.by_axes)
        std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
          return std::tie(a.latency_ms, a.solution->name) < std::tie(b.latency_ms, b.solution->name);
        });
      measurements.best = winner_of_most(measurements);
    }
  }
}

void ApplyTable::leave_out(std::string_view hardware,
                           const std::function<std::optional<std::string>(const Solution&)>& unusable) {
  std::map<const Solution*, std::optional<std::string>> answers;
  const auto answer = [&](const Solution* solution) -> const std::optional<std::string>& {
    const auto [place, is_new] = answers.try_emplace(solution);
    if (is_new) place->second = unusable(*solution);
    return place->second;
  };
  for (auto& [definition, by_hardware] : definitions_) {
    const auto found = by_hardware.find(hardware);
    if (found == by_hardware.end()) continue;
    Measurements& measurements = found->second;
    for (auto at = measurements.by_axes.begin(); at != measurements.by_axes.end();) {
      std::vector<Candidate>& candidates = at->second;
      while (!candidates.empty() && answer(candidates.front().solution)) {
        const Candidate& first = candidates.front();
        measurements.left_out[*answer(first.solution)] += first.workloads;
        candidates.erase(candidates.begin());
      }
      at = candidates.empty() ? measurements.by_axes.erase(at) : std::next(at);
    }
    measurements.best = winner_of_most(measurements);
  }
}

std::optional<double> ApplyTable::distance(const Definition& definition, const AxisValues& a,
                                           const AxisValues& b) const {
  double most = 0;
  std::size_t number = 0;
  for (const Axis& axis : definition.axes) {
    if (axis.value) continue;
    const std::int64_t x = a[number], y = b[number++];
    if (is_capacity(axis.name) || x == y) continue;
    if (x <= 0 || y <= 0) return std::nullopt;  // of nothing, nothing is near
    most = std::max(most, std::abs(std::log2(static_cast<double>(x) / static_cast<double>(y))));
  }
  return most;
}

Choice ApplyTable::choose(std::string_view definition, std::string_view hardware,
                          const AxisValues& axes) const {
  const Measurements* known = measurements(definition, hardware);
  if (known == nullptr || known->by_axes.empty()) return {};
  if (const auto found = known->by_axes.find(axes); found != known->by_axes.end())
    return {Route::kExact, found->second.front().solution, &found->first, found->second.front().latency_ms};
  if (options_.on_miss == MissPolicy::kBest) return {Route::kBest, known->best};
  Choice choice{Route::kNotMeasured};
  if (options_.on_miss == MissPolicy::kFallback) return choice;
  const Definition& of = *set_->definition(definition);
  for (const auto& [measured, candidates] : known->by_axes) {
    const std::optional<double> far = distance(of, axes, measured);
    if (!far || *far > options_.nearest_octaves) continue;
    if (choice.solution == nullptr || *far < choice.distance)
      choice = {Route::kNearest, candidates.front().solution, &measured, candidates.front().latency_ms, *far};
  }
  return choice;
}

const Measurements* ApplyTable::measurements(std::string_view definition, std::string_view hardware) const {
  const auto found = definitions_.find(definition);
  if (found == definitions_.end()) return nullptr;
  const auto measurements = found->second.find(hardware);
  return measurements == found->second.end() ? nullptr : &measurements->second;
}

std::vector<std::string> ApplyTable::hardware_of(std::string_view definition) const {
  std::vector<std::string> names;
  if (const auto found = definitions_.find(definition); found != definitions_.end())
    for (const auto& [hardware, measurements] : found->second) names.push_back(hardware);
  return names;
}

}  // namespace strobe::trace
