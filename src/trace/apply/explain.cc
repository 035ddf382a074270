#include "trace/apply/explain.h"

#include <algorithm>

#include "core/message.h"
#include "trace/json_text.h"

namespace strobe::trace {
namespace {

bool asked_for(const std::vector<std::string>& names, const std::string& name) {
  return names.empty() || std::find(names.begin(), names.end(), name) != names.end();
}

Json axes_json(const Definition& definition, const AxisValues& values) {
  Json axes = Json::object();
  std::size_t number = 0;
  for (const std::string& axis : variable_axes(definition)) axes[axis] = values[number++];
  return axes;
}

// "batch_size=1 num_pages=64"
std::string axes_text(const Json& axes) {
  std::string text;
  for (const auto& [axis, value] : axes.items())
    text += fmt::format("{}{}={}", text.empty() ? "" : " ", axis, value.dump());
  return text.empty() ? "any size" : text;
}

Json sizes_json(const Definition& definition, const Measurements& known) {
  Json sizes = Json::array();
  for (const auto& [values, candidates] : known.by_axes) {
    Json size = {{"axes", axes_json(definition, values)},
                 {"solution", candidates.front().solution->name},
                 {"latency_ms", candidates.front().latency_ms},
                 {"workloads", candidates.front().workloads}};
    if (candidates.size() > 1)
      size["next"] = {{"solution", candidates[1].solution->name}, {"latency_ms", candidates[1].latency_ms}};
    sizes.push_back(size);
  }
  return sizes;
}

// The answer to the axes asked about; null when they are not this definition's.
Json choice_json(const Definition& definition, const ApplyTable& table, const std::string& hardware,
                 const std::map<std::string, std::int64_t>& asked) {
  AxisValues values;
  for (const std::string& axis : variable_axes(definition)) {
    const auto found = asked.find(axis);
    if (found == asked.end()) return {};
    values.push_back(found->second);
  }
  if (values.size() != asked.size()) return {};
  const Choice choice = table.choose(definition.name, hardware, values);
  Json result = {{"axes", axes_json(definition, values)}, {"route", name(choice.route)}};
  result["solution"] = choice.solution == nullptr ? Json() : Json(choice.solution->name);
  if (choice.measured_at != nullptr) {
    result["measured_at"] = axes_json(definition, *choice.measured_at);
    result["latency_ms"] = choice.latency_ms;
    result["octaves"] = choice.distance;
  }
  return result;
}

void append_hardware(std::string& text, const Json& known, const std::string& hardware) {
  text += fmt::format("  {}: {}\n", hardware,
                      known["sizes"].empty()
                          ? "no trace counts; calls go to their fallback"
                          : fmt::format("{} sizes measured, best at most of them: {}", known["sizes"].size(),
                                        known["best"].get<std::string>()));
  for (const Json& size : known["sizes"]) {
    text += fmt::format("    {}: {} {:.4f} ms", axes_text(size["axes"]), size["solution"].get<std::string>(),
                        size["latency_ms"].get<double>());
    if (size.contains("next"))
      text += fmt::format(", before {} {:.4f} ms", size["next"]["solution"].get<std::string>(),
                          size["next"]["latency_ms"].get<double>());
    text += "\n";
  }
  for (const auto& [reason, count] : known["left_out"].items())
    text += fmt::format("    {} left out: {}\n", count.get<int>(), reason);
  if (!known.contains("choice")) return;
  const Json& choice = known["choice"];
  text += fmt::format("    a call of {}: {}, {}\n", axes_text(choice["axes"]),
                      choice["solution"].is_null() ? "the fallback" : choice["solution"].get<std::string>(),
                      choice["route"].get<std::string>());
}

}  // namespace

Json explain(const DataSet& set, const ApplyTable& table, const ExplainOptions& options) {
  for (const std::string& name : options.definitions)
    if (set.definition(name) == nullptr)
      fail(ErrorKind::kInvalidArgument, "{}: there is no definition '{}'", set.root().string(), name);
  Json definitions = Json::object();
  bool answered = options.axes.empty();
  for (const auto& [name, stored] : set.definitions()) {
    if (!asked_for(options.definitions, name)) continue;
    Json by_hardware = Json::object(), others = Json::array();
    for (const std::string& hardware : options.hardware) {
      const Measurements* known = table.measurements(name, hardware);
      Json& entry = by_hardware[hardware] = {{"sizes", Json::array()}, {"left_out", Json::object()}};
      if (known != nullptr) {
        entry["sizes"] = sizes_json(stored.item, *known);
        for (const auto& [reason, count] : known->left_out) entry["left_out"][reason] = count;
        if (known->best != nullptr) entry["best"] = known->best->name;
      }
      if (const Json choice = choice_json(stored.item, table, hardware, options.axes); !choice.is_null()) {
        entry["choice"] = choice;
        answered = true;
      }
    }
    for (const std::string& hardware : table.hardware_of(name))
      if (std::find(options.hardware.begin(), options.hardware.end(), hardware) == options.hardware.end())
        others.push_back(hardware);
    definitions[name] = {{"hardware", by_hardware}, {"other_hardware", others}};
  }
  if (!answered)
    fail(ErrorKind::kInvalidArgument,
         "axes: expected all variable axes of a definition, got {} that no one has",
         axes_text(Json(options.axes)));
  return {{"data_set", set.root().string()},
          {"on_miss", name(table.options().on_miss)},
          {"definitions", definitions}};
}

std::string explanation_text(const Json& explanation) {
  std::string text;
  for (const auto& [name, definition] : explanation["definitions"].items()) {
    text += name + "\n";
    for (const auto& [hardware, known] : definition["hardware"].items())
      append_hardware(text, known, hardware);
    for (const Json& other : definition["other_hardware"])
      text += fmt::format("  {}: not this machine, its traces do not count\n", other.get<std::string>());
  }
  return text + fmt::format("Sizes that were not measured: {}\n", explanation["on_miss"].get<std::string>());
}

std::string statistics_text(const Json& statistics) {
  try {
    std::string text;
    for (const auto& [reason, count] : statistics.at("left_out").items())
      text += fmt::format("{} traces left out: {}\n", count.get<int>(), reason);
    for (const Json& problem : statistics.at("problems"))
      text += fmt::format("left out: {}\n", problem.get<std::string>());
    for (const auto& [name, counted] : statistics.at("definitions").items()) {
      text += fmt::format("{}: {} calls, {} of them to a solution\n", name, counted.at("calls").get<int>(),
                          counted.at("applied").get<int>());
      for (const auto& [route, count] : counted.at("routes").items())
        text += fmt::format("  {}: {}\n", route, count.get<int>());
      for (const auto& [mismatch, count] : counted.at("mismatches").items())
        text += fmt::format("  not the definition's {}: {}\n", mismatch, count.get<int>());
      for (const auto& [reason, count] : counted.at("refused").items())
        text += fmt::format("  not covered, {}: {}\n", reason, count.get<int>());
      if (counted.contains("first_mismatch"))
        text += fmt::format("    the first: {}\n", counted["first_mismatch"].get<std::string>());
      if (counted.contains("unusable"))
        text += fmt::format("  no call has a solution: {}\n", counted["unusable"].get<std::string>());
      for (const Json& size : counted.at("sizes"))
        text +=
            fmt::format("    {} on {}: {} calls, {}, {}\n", axes_text(size.at("axes")),
                        size.at("device").get<std::string>(), size.at("calls").get<int>(),
                        size.at("solution").is_null() ? "the fallback" : size["solution"].get<std::string>(),
                        size.at("route").get<std::string>());
    }
    return text.empty() ? "no calls\n" : text;
  } catch (const Json::exception& error) {
    fail(ErrorKind::kIo, "expected the statistics of apply, got JSON in which {}", error.what());
  }
}

}  // namespace strobe::trace
