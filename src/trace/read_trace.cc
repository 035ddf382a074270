#include <array>

#include "core/message.h"
#include "trace/fields.h"

namespace strobe::trace {
namespace {

constexpr std::array<std::string_view, 7> kStatusNames = {
    "PASSED",        "INCORRECT_SHAPE", "INCORRECT_NUMERICAL", "INCORRECT_DTYPE", "RUNTIME_ERROR",
    "COMPILE_ERROR", "TIMEOUT"};

WorkloadInput read_input(const Field& field) {
  std::string type;
  if (const std::optional<Field> given = field.find("type")) {
    type = given->choice({"random", "scalar", "safetensors"});
  } else {  // a file that was written without defaults
    const std::optional<Field> value = field.find("value");
    type = field.find("path") && field.find("tensor_key") ? "safetensors"
           : value && !value->is_null()                   ? "scalar"
                                                          : "random";
  }
  if (type == "scalar") return ScalarInput{field.at("value").scalar()};
  if (type == "safetensors") return FileInput{field.at("path").text(), field.at("tensor_key").text()};
  return RandomInput{};
}

Status read_status(const Field& field) {
  const std::string text = field.text();
  for (std::size_t i = 0; i < kStatusNames.size(); ++i)
    if (kStatusNames[i] == text) return static_cast<Status>(i);
  field.expected(fmt::format("one of {}", fmt::join(kStatusNames, ", ")));
}

Correctness read_correctness(const Field& field) {
  Correctness correctness;
  correctness.max_relative_error = value_or(field, "max_relative_error", &Field::error_bound, 0.0);
  correctness.max_absolute_error = value_or(field, "max_absolute_error", &Field::error_bound, 0.0);
  if (const std::optional<Field> extra = field.find("extra"); extra && !extra->is_null()) {
    extra->require(extra->json().is_object(), "an object");
    correctness.extra = extra->json();
  }
  return correctness;
}

Performance read_performance(const Field& field) {
  return {.latency_ms = value_or(field, "latency_ms", &Field::error_bound, 0.0),
          .reference_latency_ms = value_or(field, "reference_latency_ms", &Field::error_bound, 0.0),
          .speedup_factor = value_or(field, "speedup_factor", &Field::error_bound, 0.0)};
}

Environment read_environment(const Field& field) {
  Environment environment{field.at("hardware").name(), {}};
  if (const std::optional<Field> libs = field.find("libs"))
    for (const auto& [name, version] : libs->members()) environment.libs.emplace_back(name, version.text());
  return environment;
}

// A status that was measured has what it measured, and no other has.
void check_presence(const Field& field, const Evaluation& evaluation) {
  const bool passed = evaluation.status == Status::kPassed;
  const bool compared = passed || evaluation.status == Status::kIncorrectNumerical;
  if (compared != evaluation.correctness.has_value())
    fail(ErrorKind::kIo, "{}: expected {} correctness with status {}", field.where(), compared ? "a" : "no",
         name(evaluation.status));
  if (passed != evaluation.performance.has_value())
    fail(ErrorKind::kIo, "{}: expected {} performance with status {}", field.where(), passed ? "a" : "no",
         name(evaluation.status));
}

Evaluation read_evaluation(const Field& field) {
  Evaluation evaluation{.status = read_status(field.at("status")),
                        .environment = read_environment(field.at("environment")),
                        .timestamp = field.at("timestamp").name(),
                        .log = value_or(field, "log", &Field::text, std::string()),
                        .correctness = {},
                        .performance = {}};
  const std::optional<Field> correctness = field.find("correctness"), performance = field.find("performance");
  if (correctness && !correctness->is_null()) evaluation.correctness = read_correctness(*correctness);
  if (performance && !performance->is_null()) evaluation.performance = read_performance(*performance);
  check_presence(field, evaluation);
  return evaluation;
}

// The schema's numbers that need not be finite are texts then.
Json number_json(double value) {
  if (value != value) return "NaN";
  if (value > 1.7976931348623157e308) return "Infinity";
  if (value < -1.7976931348623157e308) return "-Infinity";
  return value;
}

Json to_json(const WorkloadInput& input) {
  if (const auto* scalar = std::get_if<ScalarInput>(&input)) {
    Json value;
    if (const auto* number = std::get_if<double>(&scalar->value))
      value = number_json(*number);
    else
      std::visit([&value](auto item) { value = item; }, scalar->value);
    return {{"type", "scalar"}, {"value", value}};
  }
  if (const auto* file = std::get_if<FileInput>(&input))
    return {{"type", "safetensors"}, {"path", file->path}, {"tensor_key", file->tensor_key}};
  return {{"type", "random"}};
}

Json to_json(const Evaluation& evaluation) {
  Json libs = Json::object();
  for (const auto& [name, version] : evaluation.environment.libs) libs[name] = version;
  Json json = {{"status", name(evaluation.status)},
               {"environment", {{"hardware", evaluation.environment.hardware}, {"libs", libs}}},
               {"timestamp", evaluation.timestamp},
               {"log", evaluation.log},
               {"correctness", nullptr},
               {"performance", nullptr}};
  if (const std::optional<Correctness>& correctness = evaluation.correctness)
    json["correctness"] = {{"max_relative_error", number_json(correctness->max_relative_error)},
                           {"max_absolute_error", number_json(correctness->max_absolute_error)},
                           {"extra", correctness->extra}};
  if (const std::optional<Performance>& performance = evaluation.performance)
    json["performance"] = {{"latency_ms", number_json(performance->latency_ms)},
                           {"reference_latency_ms", number_json(performance->reference_latency_ms)},
                           {"speedup_factor", number_json(performance->speedup_factor)}};
  return json;
}

}  // namespace

std::string_view name(Status status) { return kStatusNames[static_cast<std::size_t>(status)]; }

const WorkloadInput* Workload::input(std::string_view name) const {
  for (const auto& [key, value] : inputs)
    if (key == name) return &value;
  return nullptr;
}

std::optional<std::int64_t> Workload::axis(std::string_view name) const {
  for (const auto& [key, value] : axes)
    if (key == name) return value;
  return {};
}

Workload read_workload(const Json& json, const std::string& where) {
  const Field field(json, where);
  Workload workload;
  for (const auto& [name, value] : field.at("axes").members())
    workload.axes.emplace_back(name, value.count());
  for (const auto& [name, value] : field.at("inputs").members())
    workload.inputs.emplace_back(name, read_input(value));
  workload.uuid = field.at("uuid").name();
  return workload;
}

Trace read_trace(const Json& json, const std::string& where) {
  const Field field(json, where), workload = field.at("workload");
  Trace trace{.definition = field.at("definition").name(),
              .workload = read_workload(workload.json(), workload.where()),
              .solution = {},
              .evaluation = {}};
  const std::optional<Field> solution = field.find("solution"), evaluation = field.find("evaluation");
  if (solution && !solution->is_null()) trace.solution = solution->name();
  if (evaluation && !evaluation->is_null()) trace.evaluation = read_evaluation(*evaluation);
  if (trace.solution.has_value() != trace.evaluation.has_value())
    fail(ErrorKind::kIo, "{}: expected a solution and an evaluation, or neither", where);
  return trace;
}

Json to_json(const Workload& workload) {
  Json json = {{"axes", Json::object()}, {"inputs", Json::object()}, {"uuid", workload.uuid}};
  for (const auto& [name, value] : workload.axes) json["axes"][name] = value;
  for (const auto& [name, input] : workload.inputs) json["inputs"][name] = to_json(input);
  return json;
}

Json to_json(const Trace& trace) {
  return {{"definition", trace.definition},
          {"workload", to_json(trace.workload)},
          {"solution", trace.solution ? Json(*trace.solution) : Json()},
          {"evaluation", trace.evaluation ? to_json(*trace.evaluation) : Json()}};
}

}  // namespace strobe::trace
