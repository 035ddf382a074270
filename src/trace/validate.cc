#include "trace/validate.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>

#include "core/message.h"
#include "trace/data_set.h"
#include "trace/json_text.h"
#include "trace/validate_workload.h"

namespace strobe::trace {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, kCheckCount> kCheckNames = {"layout",   "definition", "workload",
                                                                   "solution", "trace",      "baseline"};
constexpr std::array<std::string_view, 3> kLevelNames = {"info", "warning", "error"};

class Reports {
 public:
  explicit Reports(const ValidationOptions& options) : options_(options) {}

  void add(const std::string& definition, Check check, Level level, std::string text) {
    DefinitionReport& report = of(definition);
    if (options_.has(check)) report.messages[static_cast<int>(check)].push_back({level, std::move(text)});
  }
  void error(const std::string& definition, Check check, std::string text) {
    add(definition, check, Level::kError, std::move(text));
  }
  DefinitionReport& of(const std::string& definition) {
    return reports_.try_emplace(definition, DefinitionReport{definition, {}}).first->second;
  }
  std::vector<DefinitionReport> take(const DataSet& set) {
    std::vector<DefinitionReport> result;
    for (auto& [name, report] : reports_) {
      const Definition* definition = set.definition(name);
      const bool chosen = (options_.definitions.empty() || contains(options_.definitions, name)) &&
                          (options_.op_types.empty() ||
                           (definition != nullptr && contains(options_.op_types, definition->op_type)));
      if (chosen) result.push_back(std::move(report));
    }
    return result;
  }

 private:
  static bool contains(const std::vector<std::string>& list, const std::string& name) {
    return std::find(list.begin(), list.end(), name) != list.end();
  }

  const ValidationOptions& options_;
  std::map<std::string, DefinitionReport> reports_;
};

std::vector<std::string> parts_of(const fs::path& file) {
  std::vector<std::string> parts;
  for (const fs::path& part : file) parts.push_back(part.string());
  return parts;
}

// Which definition and which check a file that does not parse belongs to, by its place.
void report_problem(Reports& reports, const Problem& problem) {
  const std::vector<std::string> parts = parts_of(problem.file);
  const bool of_solution = parts[0] == "solutions";
  const Check check = parts[0] == "definitions" ? Check::kDefinition
                      : of_solution             ? Check::kSolution
                      : parts[0] == "workloads" ? Check::kWorkload
                                                : Check::kTrace;
  const std::string definition =
      of_solution && parts.size() == 5 ? parts[3] : fs::path(parts.back()).stem().string();
  reports.error(definition, check, problem.message);
}

void check_layout(Reports& reports, const DataSet& set) {
  const auto expect = [&](const std::string& definition, const fs::path& file, const auto& place) {
    try {
      if (const fs::path expected = place(); expected != file)
        reports.error(definition, Check::kLayout,
                      fmt::format("{}: expected at {}", file.string(), expected.string()));
    } catch (const Error&) {
      // It refers to something that is not there, which another check reports.
    }
  };
  for (const auto& [name, definition] : set.definitions())
    expect(name, definition.file, [&] { return DataSet::place_of(definition.item); });
  for (const auto& [name, solution] : set.solutions())
    expect(solution.item.definition, solution.file, [&] { return set.place_of(solution.item); });
  for (const auto* list : {&set.workloads(), &set.traces()}) {
    std::set<fs::path> seen;
    for (const Stored<Trace>& trace : *list)
      if (seen.insert(trace.file).second)
        expect(trace.item.definition, trace.file, [&] { return set.place_of(trace.item); });
  }
}

void check_definitions(Reports& reports, const DataSet& set) {
  for (const auto& [name, stored] : set.definitions()) {
    reports.of(name);
    for (const Axis& axis : stored.item.axes) {
      const auto has_axis = [&](const TensorSpec& tensor) {
        return tensor.shape &&
               std::find(tensor.shape->begin(), tensor.shape->end(), axis.name) != tensor.shape->end();
      };
      const bool used = std::any_of(stored.item.inputs.begin(), stored.item.inputs.end(), has_axis);
      if (!used && !axis.value)
        reports.add(
            name, Check::kDefinition, Level::kWarning,
            fmt::format("axis '{}' is that of no input, so that a call cannot tell its size", axis.name));
    }
  }
}

bool has_suffix(std::string_view file, std::initializer_list<std::string_view> suffixes) {
  return std::any_of(suffixes.begin(), suffixes.end(),
                     [&](std::string_view suffix) { return file.ends_with(suffix); });
}

bool entry_file_fits(const Solution& solution) {
  const std::string_view file = solution.entry_file();
  if (solution.language == "cuda") return has_suffix(file, {".cu", ".cpp", ".cc", ".cxx"});
  if (solution.language == "cpp") return has_suffix(file, {".cpp", ".cc", ".cxx", ".c"});
  return solution.language == "cutlass" || solution.language == "cutile" || has_suffix(file, {".py"});
}

void check_solutions(Reports& reports, const DataSet& set) {
  std::map<std::string, const Solution*> by_content;
  for (const auto& [name, stored] : set.solutions()) {
    const Solution& solution = stored.item;
    const auto report = [&](Level level, std::string_view text) {
      reports.add(solution.definition, Check::kSolution, level,
                  fmt::format("{}: {}", stored.file.string(), text));
    };
    if (set.definition(solution.definition) == nullptr)
      report(Level::kError, fmt::format("there is no definition '{}'", solution.definition));
    if (!entry_file_fits(solution))
      report(Level::kError,
             fmt::format("entry file {} is not of language {}", solution.entry_file(), solution.language));
    const auto [same, is_new] = by_content.try_emplace(content_hash(solution), &solution);
    if (!is_new) report(Level::kWarning, fmt::format("its sources are those of '{}'", same->second->name));
  }
}

void check_trace(Reports& reports, const DataSet& set, const Stored<Trace>& stored,
                 const std::map<std::string, const Workload*, std::less<>>& workloads) {
  const Trace& trace = stored.item;
  const auto report = [&](Level level, std::string_view text) {
    reports.add(trace.definition, Check::kTrace, level,
                fmt::format("{}:{}: {}", stored.file.string(), stored.line, text));
  };
  if (set.definition(trace.definition) == nullptr)
    report(Level::kError, fmt::format("there is no definition '{}'", trace.definition));
  const Solution* solution = set.solution(*trace.solution);
  if (solution == nullptr)
    report(Level::kError, fmt::format("there is no solution '{}'", *trace.solution));
  else if (solution->definition != trace.definition)
    report(Level::kError, fmt::format("solution '{}' is for '{}'", solution->name, solution->definition));
  const auto workload = workloads.find(trace.workload.uuid);
  if (workload == workloads.end())
    report(Level::kWarning, fmt::format("workload {} is not among the workloads", trace.workload.uuid));
  else if (std::map(workload->second->axes.begin(), workload->second->axes.end()) !=
           std::map(trace.workload.axes.begin(), trace.workload.axes.end()))
    report(Level::kError, fmt::format("its axes are not those of workload {}", trace.workload.uuid));
  const Evaluation& evaluation = *trace.evaluation;
  if (evaluation.status != Status::kPassed) return;
  if (!std::isfinite(evaluation.correctness->max_absolute_error) ||
      !std::isfinite(evaluation.correctness->max_relative_error))
    report(Level::kError, "it passed, and an error is not finite");
  if (!(evaluation.performance->latency_ms > 0) || !std::isfinite(evaluation.performance->latency_ms))
    report(Level::kError, "it passed, and its latency is not above 0");
}

void check_traces(Reports& reports, const DataSet& set) {
  std::map<std::string, const Workload*, std::less<>> workloads;
  for (const Stored<Trace>& stored : set.workloads())
    workloads.emplace(stored.item.workload.uuid, &stored.item.workload);
  for (const Stored<Trace>& stored : set.traces()) check_trace(reports, set, stored, workloads);
}

void check_baselines(Reports& reports, const DataSet& set) {
  for (const auto& [name, definition] : set.definitions()) {
    const std::vector<const Solution*> solutions = set.solutions_of(name);
    const auto count = std::count_if(solutions.begin(), solutions.end(),
                                     [](const Solution* solution) { return solution->author == "baseline"; });
    if (count != 1)
      reports.add(name, Check::kBaseline, Level::kWarning,
                  fmt::format("expected one solution of the author 'baseline', got {}", count));
  }
}

void check_workloads(Reports& reports, const DataSet& set) {
  std::set<std::string> uuids;
  for (const Stored<Trace>& stored : set.workloads()) {
    const auto report = [&](Level level, std::string_view text) {
      reports.add(stored.item.definition, Check::kWorkload, level,
                  fmt::format("{}:{}: {}", stored.file.string(), stored.line, text));
    };
    if (!uuids.insert(stored.item.workload.uuid).second)
      report(Level::kError,
             fmt::format("uuid {} is that of another workload, too", stored.item.workload.uuid));
    const Definition* definition = set.definition(stored.item.definition);
    if (definition == nullptr)
      report(Level::kError, fmt::format("there is no definition '{}'", stored.item.definition));
    else
      for (const Message& message : workload_messages(*definition, stored.item.workload, set.root()))
        report(message.level, message.text);
  }
}

Level worst(const std::vector<Message>& messages) {
  Level level = Level::kInfo;
  for (const Message& message : messages) level = std::max(level, message.level);
  return level;
}

}  // namespace

std::string_view name(Check check) { return kCheckNames[static_cast<std::size_t>(check)]; }

Check parse_check(std::string_view text) {
  const auto found = std::find(kCheckNames.begin(), kCheckNames.end(), text);
  if (found == kCheckNames.end())
    fail(ErrorKind::kInvalidArgument, "expected a check out of {}, got '{}'", fmt::join(kCheckNames, ", "),
         text);
  return static_cast<Check>(found - kCheckNames.begin());
}

Level DefinitionReport::status(Check check) const { return worst(messages[static_cast<int>(check)]); }

Level DefinitionReport::status() const {
  Level level = Level::kInfo;
  for (const std::vector<Message>& list : messages) level = std::max(level, worst(list));
  return level;
}

bool ValidationOptions::has(Check check) const {
  return checks.empty() || std::find(checks.begin(), checks.end(), check) != checks.end();
}

std::vector<DefinitionReport> validate(const ValidationOptions& options) {
  Reports reports(options);
  const DataSet set(options.data_set, options.dialect,
                    [&](const Problem& problem) { report_problem(reports, problem); });
  check_definitions(reports, set);
  check_layout(reports, set);
  check_workloads(reports, set);
  check_solutions(reports, set);
  check_traces(reports, set);
  check_baselines(reports, set);
  return reports.take(set);
}

std::string text_report(const std::vector<DefinitionReport>& reports) {
  std::string text;
  int counts[3] = {};
  for (const DefinitionReport& report : reports) {
    ++counts[static_cast<int>(report.status())];
    text += fmt::format(
        "{:<7} {}\n",
        report.status() == Level::kInfo ? "ok" : kLevelNames[static_cast<std::size_t>(report.status())],
        report.name);
    for (int check = 0; check < kCheckCount; ++check)
      for (const Message& message : report.messages[check])
        text += fmt::format("  {} {}: {}\n", kCheckNames[static_cast<std::size_t>(check)],
                            kLevelNames[static_cast<std::size_t>(message.level)], message.text);
  }
  return text + fmt::format("{} definitions: {} ok, {} with warnings, {} with errors\n", reports.size(),
                            counts[0], counts[1], counts[2]);
}

std::string json_report(const std::vector<DefinitionReport>& reports, const ValidationOptions& options) {
  Json checks = Json::array(), definitions = Json::object();
  for (int check = 0; check < kCheckCount; ++check)
    if (options.has(static_cast<Check>(check)))
      checks.push_back(kCheckNames[static_cast<std::size_t>(check)]);
  for (const DefinitionReport& report : reports) {
    Json& entry =
        definitions[report.name] = {{"status", kLevelNames[static_cast<std::size_t>(report.status())]}};
    for (int check = 0; check < kCheckCount; ++check) {
      Json& result = entry[std::string(kCheckNames[static_cast<std::size_t>(check)])] = Json();
      if (!options.has(static_cast<Check>(check))) continue;
      result = {{"status", kLevelNames[static_cast<std::size_t>(report.status(static_cast<Check>(check)))]},
                {"messages", Json::array()}};
      for (const Message& message : report.messages[check])
        result["messages"].push_back(
            {{"level", kLevelNames[static_cast<std::size_t>(message.level)]}, {"message", message.text}});
    }
  }
  return indented({{"config",
                    {{"dataset", options.data_set},
                     {"checks", checks},
                     {"disable_gpu", true},
                     {"op_types", options.op_types},
                     {"definitions", options.definitions}}},
                   {"definitions", definitions}});
}

}  // namespace strobe::trace
