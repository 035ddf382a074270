#include "trace/data_set.h"

#include <algorithm>
#include <set>

#include "core/message.h"
#include "trace/files.h"
#include "trace/json_text.h"

namespace strobe::trace {
namespace {

namespace fs = std::filesystem;
using OnProblem = std::function<void(Problem)>;

// Files of that suffix below root/folder, in the order of their names.
std::vector<fs::path> files_below(const fs::path& root, const char* folder, std::string_view suffix) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::recursive_directory_iterator it(root / folder, error), end; !error && it != end;
       it.increment(error))
    if (it->path().extension() == suffix && it->is_regular_file())
      files.push_back(it->path().lexically_relative(root));
  if (error && error != std::errc::no_such_file_or_directory)
    fail(ErrorKind::kIo, "{}: cannot be read: {}", (root / folder).string(), error.message());
  std::sort(files.begin(), files.end());
  return files;
}

// Runs `read`; what it throws goes to `on_problem`, if there is one.
template <class F>
void guarded(const fs::path& file, const OnProblem& on_problem, const F& read) {
  try {
    read();
  } catch (const Error& error) {
    if (!on_problem) throw;
    on_problem({file, error.what()});
  }
}

template <class T>
void take(std::map<std::string, Stored<T>>& items, T item, const fs::path& file) {
  const auto [place, is_new] = items.try_emplace(item.name, Stored<T>{item, file});
  if (!is_new)
    fail(ErrorKind::kIo, "{}: expected a name that no other has; '{}' is that of {}, too", file.string(),
         item.name, place->second.file.string());
}

void read_lines(const fs::path& root, const fs::path& file, bool workloads,
                std::vector<Stored<Trace>>& traces, const OnProblem& on_problem) {
  const std::string text = read_file(root / file);
  for (const Line& line : lines_of(text))
    guarded(file, on_problem, [&] {
      Trace trace = read_trace(parse_json(line.text, file.string(), line.number),
                               fmt::format("{}:{}", file.string(), line.number));
      if (trace.is_workload() != workloads)
        fail(
            ErrorKind::kIo, "{}:{}: expected {}", file.string(), line.number,
            workloads ? "a workload, with neither solution nor evaluation" : "a solution and its evaluation");
      traces.push_back({std::move(trace), file, line.number});
    });
}

std::vector<const Trace*> of_definition(const std::vector<Stored<Trace>>& traces,
                                        std::string_view definition) {
  std::vector<const Trace*> result;
  for (const Stored<Trace>& trace : traces)
    if (trace.item.definition == definition) result.push_back(&trace.item);
  return result;
}

// A name becomes a file's or a folder's.
const std::string& as_file_name(const std::string& name) {
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos ||
      name.find('\0') != std::string::npos)
    fail(ErrorKind::kInvalidArgument, "expected a name that can be a file's, got '{}'", name);
  return name;
}

}  // namespace

DataSet::DataSet(fs::path root, Dialect dialect, const OnProblem& on_problem) : root_(std::move(root)) {
  if (!fs::is_directory(root_)) fail(ErrorKind::kIo, "{}: expected the folder of a data set", root_.string());
  for (const fs::path& file : files_below(root_, "definitions", ".json"))
    guarded(file, on_problem, [&] {
      take(definitions_,
           read_definition(parse_json(read_file(root_ / file), file.string()), file.string(), dialect), file);
    });
  for (const fs::path& file : files_below(root_, "solutions", ".json"))
    guarded(file, on_problem, [&] {
      take(solutions_,
           read_solution(parse_json(read_file(root_ / file), file.string()), file.string(), dialect), file);
    });
  for (const fs::path& file : files_below(root_, "workloads", ".jsonl"))
    guarded(file, on_problem, [&] { read_lines(root_, file, true, workloads_, on_problem); });
  for (const fs::path& file : files_below(root_, "traces", ".jsonl"))
    guarded(file, on_problem, [&] { read_lines(root_, file, false, traces_, on_problem); });
}

const Definition* DataSet::definition(std::string_view name) const {
  const auto found = definitions_.find(std::string(name));
  return found == definitions_.end() ? nullptr : &found->second.item;
}

const Solution* DataSet::solution(std::string_view name) const {
  const auto found = solutions_.find(std::string(name));
  return found == solutions_.end() ? nullptr : &found->second.item;
}

std::vector<const Solution*> DataSet::solutions_of(std::string_view definition) const {
  std::vector<const Solution*> result;
  for (const auto& [name, solution] : solutions_)
    if (solution.item.definition == definition) result.push_back(&solution.item);
  return result;
}

std::vector<const Workload*> DataSet::workloads_of(std::string_view definition) const {
  std::vector<const Workload*> result;
  for (const Trace* trace : of_definition(workloads_, definition)) result.push_back(&trace->workload);
  return result;
}

std::vector<const Trace*> DataSet::traces_of(std::string_view definition) const {
  return of_definition(traces_, definition);
}

void DataSet::add(const Definition& definition) {
  if (this->definition(definition.name) != nullptr)
    fail(ErrorKind::kInvalidArgument, "there is a definition named '{}' already", definition.name);
  const fs::path file = place_of(definition);
  write_file(root_ / file, indented(to_json(definition)));
  take(definitions_, definition, file);
}

void DataSet::add(const Solution& solution) {
  if (this->solution(solution.name) != nullptr)
    fail(ErrorKind::kInvalidArgument, "there is a solution named '{}' already", solution.name);
  const fs::path file = place_of(solution);
  write_file(root_ / file, indented(to_json(solution)));
  take(solutions_, solution, file);
}

void DataSet::add(const Trace& trace) {
  const fs::path file = place_of(trace);
  append_line(root_ / file, one_line(to_json(trace)));
  (trace.is_workload() ? workloads_ : traces_).push_back({trace, file});
}

fs::path DataSet::place_of(const Definition& definition) {
  return fs::path("definitions") / as_file_name(definition.op_type) /
         (as_file_name(definition.name) + ".json");
}

fs::path DataSet::place_of(const Solution& solution) const {
  const Definition* definition = this->definition(solution.definition);
  if (definition == nullptr)
    fail(ErrorKind::kInvalidArgument, "solution '{}': there is no definition '{}'", solution.name,
         solution.definition);
  return fs::path("solutions") / as_file_name(solution.author) / as_file_name(definition->op_type) /
         as_file_name(definition->name) / (as_file_name(solution.name) + ".json");
}

fs::path DataSet::place_of(const Trace& trace) const {
  const Definition* definition = this->definition(trace.definition);
  if (definition == nullptr)
    fail(ErrorKind::kInvalidArgument, "workload {}: there is no definition '{}'", trace.workload.uuid,
         trace.definition);
  const fs::path last =
      fs::path(as_file_name(definition->op_type)) / (as_file_name(definition->name) + ".jsonl");
  if (trace.is_workload()) return fs::path("workloads") / last;
  const Solution* solution = this->solution(trace.solution.value_or(""));
  if (solution == nullptr)
    fail(ErrorKind::kInvalidArgument, "workload {}: there is no solution '{}'", trace.workload.uuid,
         trace.solution.value_or(""));
  return fs::path("traces") / as_file_name(solution->author) / last;
}

fs::path DataSet::blob_place(std::string_view definition, std::string_view uuid) const {
  const Definition* known = this->definition(definition);
  if (known == nullptr) fail(ErrorKind::kInvalidArgument, "there is no definition '{}'", definition);
  return fs::path("blob") / "workloads" / as_file_name(known->op_type) / as_file_name(known->name) /
         fmt::format("{}_{}.safetensors", known->name, as_file_name(std::string(uuid)));
}

std::vector<std::string> DataSet::hardware() const {
  std::set<std::string> names;
  for (const Stored<Trace>& stored : traces_) names.insert(stored.item.evaluation->environment.hardware);
  return {names.begin(), names.end()};
}

void DataSet::keep_traces_on(std::string_view hardware) {
  std::erase_if(traces_, [&](const Stored<Trace>& stored) {
    return stored.item.evaluation->environment.hardware != hardware;
  });
}

}  // namespace strobe::trace
