#include <algorithm>
#include <set>

#include "core/message.h"
#include "jit/sha256.h"
#include "trace/fields.h"
#include "trace/sha1.h"

namespace strobe::trace {
namespace {

std::string read_language(const Field& field, Dialect dialect) {
  if (dialect == Dialect::kFlashInfer)
    return field.choice({"python", "triton", "cpp", "cuda", "tilelang", "cutedsl", "cutlass", "cutile"});
  return field.choice({"python", "triton", "cpp", "cuda", "tilelang"});
}

// Relative, and not leading out of the folder that it is written to.
bool stays_inside(std::string_view path) {
  if (path.empty() || path.front() == '/' || path.find('\\') != std::string_view::npos) return false;
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    if (path.substr(begin, end - begin) == "..") return false;
    begin = end + 1;
  }
  return true;
}

std::vector<SourceFile> read_sources(const Field& field) {
  std::vector<SourceFile> sources;
  std::set<std::string> paths;
  for (const Field& element : field.elements()) {
    SourceFile source{element.at("path").name(), element.at("content").name()};
    element.at("path").require(stays_inside(source.path), "a relative path without '..'");
    element.at("path").require(paths.insert(source.path).second, "a path that no other source has");
    sources.push_back(std::move(source));
  }
  field.require(!sources.empty(), "at least one source");
  return sources;
}

std::string read_entry_point(const Field& field, const std::vector<SourceFile>& sources) {
  std::string entry_point = field.name();
  const std::size_t colons = entry_point.find("::");
  field.require(colons != std::string::npos && colons > 0 && colons + 2 < entry_point.size() &&
                    entry_point.find("::", colons + 2) == std::string::npos,
                "\"path::symbol\"");
  const std::string path = entry_point.substr(0, colons);
  field.require(std::any_of(sources.begin(), sources.end(),
                            [&](const SourceFile& source) { return source.path == path; }),
                "a path that is among the sources");
  return entry_point;
}

}  // namespace

Solution read_solution(const Json& json, const std::string& where, Dialect dialect) {
  const Field field(json, where), spec = field.at("spec");
  Solution solution;
  solution.name = field.at("name").name();
  solution.definition = field.at("definition").name();
  solution.author = field.at("author").name();
  solution.language = read_language(spec.at("language"), dialect);
  solution.target_hardware = spec.at("target_hardware").names();
  spec.at("target_hardware").require(!solution.target_hardware.empty(), "at least one name");
  solution.dependencies = value_or(spec, "dependencies", &Field::names, {});
  solution.destination_passing_style =
      value_or(spec, "destination_passing_style", &Field::boolean, dialect == Dialect::kBench);
  if (const std::optional<Field> binding = spec.find("binding"); binding && !binding->is_null())
    solution.binding = binding->choice({"tvm-ffi", "torch"});
  solution.sources = read_sources(field.at("sources"));
  solution.entry_point = read_entry_point(spec.at("entry_point"), solution.sources);
  solution.description = optional_text(field, "description");
  return solution;
}

Json to_json(const Solution& solution) {
  Json json = {{"name", solution.name}, {"definition", solution.definition}, {"author", solution.author}};
  json["spec"] = {{"language", solution.language},
                  {"target_hardware", solution.target_hardware},
                  {"entry_point", solution.entry_point},
                  {"dependencies", solution.dependencies},
                  {"destination_passing_style", solution.destination_passing_style},
                  {"binding", solution.binding ? Json(*solution.binding) : Json()}};
  Json& sources = json["sources"] = Json::array();
  for (const SourceFile& source : solution.sources)
    sources.push_back({{"path", source.path}, {"content", source.content}});
  if (solution.description) json["description"] = *solution.description;
  return json;
}

std::string content_hash(const Solution& solution) {
  Sha1 sha;
  sha.add(solution.definition)
      .add(solution.language)
      .add(solution.entry_point)
      .add(solution.binding.value_or(""));
  for (const std::string& dependency : solution.dependencies) sha.add(dependency);
  for (const SourceFile& source : solution.sources) sha.add(source.path).add(source.content);
  return sha.hex();
}

std::string build_key(const Solution& solution, const std::vector<std::string>& environment) {
  jit::Sha256 sha;
  sha.add_field(solution.definition).add_field(solution.language).add_field(solution.entry_point);
  sha.add_field(solution.binding.value_or(""));
  sha.add_field(solution.destination_passing_style ? "destination passing" : "value returning");
  const auto add_list = [&](const std::vector<std::string>& list) {
    sha.add_field(std::to_string(list.size()));
    for (const std::string& item : list) sha.add_field(item);
  };
  add_list(solution.target_hardware);
  add_list(solution.dependencies);
  sha.add_field(std::to_string(solution.sources.size()));
  for (const SourceFile& source : solution.sources) sha.add_field(source.path).add_field(source.content);
  add_list(environment);
  return sha.hex();
}

}  // namespace strobe::trace
