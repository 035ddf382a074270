// strobe trace explain: which solution apply() runs at which sizes, and why not another.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "bench/output_file.h"
#include "cli/commands.h"
#include "core/message.h"
#include "cpu/model_name.h"
#include "cuda/device.h"
#include "trace/apply/explain.h"
#include "trace/data_set.h"
#include "trace/files.h"
#include "trace/json_text.h"

namespace strobe::cli {
namespace {

struct Options {
  std::string data_set, statistics, json, on_miss = "fallback_only";
  std::vector<std::string> axes;
  trace::TableOptions table;
  trace::ExplainOptions explain;
};

std::vector<std::string> hardware_here() {
  std::vector<std::string> names = {cpu::model_name()};
  for (int index = 0; index < cuda::device_count(); ++index)
    if (const std::string& name =
            cuda::device_facts({DeviceType::kCuda, static_cast<std::int8_t>(index)}).name;
        std::find(names.begin(), names.end(), name) == names.end())
      names.push_back(name);
  return names;
}

// "batch_size=8"
std::pair<std::string, std::int64_t> parse_axis(const std::string& text) {
  const std::size_t equals = std::min(text.find('='), text.size());
  std::int64_t value = 0;
  const char *begin = text.data() + std::min(equals + 1, text.size()), *end = text.data() + text.size();
  const auto result = std::from_chars(begin, end, value);
  if (equals == 0 || begin == end || result.ec != std::errc{} || result.ptr != end || value < 0)
    fail(ErrorKind::kInvalidArgument, "--axes: expected name=size, got '{}'", text);
  return {text.substr(0, equals), value};
}

int explain(Options options) {
  const std::optional<bench::OutputFile> file =
      options.json.empty() ? std::nullopt : std::optional<bench::OutputFile>(options.json);
  if (!options.statistics.empty()) {
    const trace::Json statistics =
        trace::parse_json(trace::read_file(options.statistics), options.statistics);
    fmt::print("{}", trace::statistics_text(statistics));
    if (file) file->write(trace::indented(statistics));
    return 0;
  }
  if (options.data_set.empty())
    fail(ErrorKind::kInvalidArgument, "expected a data set, or --statistics FILE, got neither");
  options.table.on_miss = trace::parse_miss_policy(options.on_miss);
  if (options.explain.hardware.empty()) options.explain.hardware = hardware_here();
  for (const std::string& axis : options.axes) options.explain.axes.insert(parse_axis(axis));
  const trace::DataSet set(options.data_set);
  const trace::Json explanation = trace::explain(set, trace::ApplyTable(set, options.table), options.explain);
  fmt::print("{}", trace::explanation_text(explanation));
  if (file) file->write(trace::indented(explanation));
  return 0;
}

}  // namespace

void add_trace_explain(CLI::App& trace, Action& action) {
  CLI::App* command = trace.add_subcommand(
      "explain", "Which solution apply runs at which sizes here, and why not another; or what it did");
  auto options = std::make_shared<Options>();
  command->add_option("data_set", options->data_set, "The folder of the data set");
  command->add_option("--definitions", options->explain.definitions, "Only these definitions")
      ->delimiter(',');
  command->add_option("--hardware", options->explain.hardware,
                      "Whose traces count (default: this machine's)");
  command->add_option("--axes", options->axes, "What a call of these sizes runs: batch_size=8,num_pages=64")
      ->delimiter(',');
  command->add_option("--on-miss", options->on_miss, "For sizes that were not measured")
      ->check(CLI::IsMember({"fallback_only", "nearest", "use_def_best"}))
      ->capture_default_str();
  command->add_option("--nearest-octaves", options->table.nearest_octaves, "How far away the nearest may be")
      ->check(CLI::Range(0.0, 60.0))
      ->capture_default_str();
  command->add_option("--max-absolute-error", options->table.max_absolute_error,
                      "Traces of larger errors do not count");
  command->add_option("--max-relative-error", options->table.max_relative_error,
                      "Traces of larger errors do not count");
  command->add_option("--statistics", options->statistics,
                      "Instead: what apply has written to STROBE_APPLY_STATISTICS");
  command->add_option("--json", options->json, "Write the result there as JSON");
  command->callback([&action, options] { action = [options] { return explain(*options); }; });
}

}  // namespace strobe::cli
