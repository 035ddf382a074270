// strobe trace: data sets of kernel definitions, solutions, workloads and traces.
#include <fmt/format.h>

#include <memory>

#include "bench/output_file.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "trace/data_set.h"
#include "trace/summary.h"
#include "trace/validate.h"

namespace strobe::cli {
namespace {

struct Options {
  std::string data_set;
  std::vector<std::string> checks, op_types, definitions;
  std::string dialect = "bench";
  std::string json;

  trace::Dialect read_dialect() const {
    return dialect == "flashinfer" ? trace::Dialect::kFlashInfer : trace::Dialect::kBench;
  }
};

void add_data_set(CLI::App* command, const std::shared_ptr<Options>& options) {
  command->add_option("data_set", options->data_set, "The folder of the data set")->required();
  command
      ->add_option("--dialect", options->dialect,
                   "Who wrote the files: FlashInfer-Bench, or FlashInfer's own trace")
      ->check(CLI::IsMember({"bench", "flashinfer"}))
      ->capture_default_str();
  command->add_option("--json", options->json, "Write the result there as JSON");
}

int validate(const Options& options) {
  trace::ValidationOptions validation{.data_set = options.data_set,
                                      .checks = {},
                                      .op_types = options.op_types,
                                      .definitions = options.definitions,
                                      .dialect = options.read_dialect()};
  for (const std::string& check : options.checks) validation.checks.push_back(trace::parse_check(check));
  const std::optional<bench::OutputFile> json =
      options.json.empty() ? std::nullopt : std::optional<bench::OutputFile>(options.json);
  const std::vector<trace::DefinitionReport> reports = trace::validate(validation);
  fmt::print("{}", trace::text_report(reports));
  if (json) json->write(trace::json_report(reports, validation));
  for (const trace::DefinitionReport& report : reports)
    if (report.status() == trace::Level::kError) return kFailed;
  return kOk;
}

int summarise(const Options& options, std::string (*text)(const trace::DataSet&),
              std::string (*json)(const trace::DataSet&)) {
  const std::optional<bench::OutputFile> file =
      options.json.empty() ? std::nullopt : std::optional<bench::OutputFile>(options.json);
  const trace::DataSet set(options.data_set, options.read_dialect());
  fmt::print("{}", text(set));
  if (file) file->write(json(set));
  return kOk;
}

}  // namespace

void add_trace(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand(
      "trace", "Definitions, solutions, workloads and traces (the FlashInfer-Trace schema)");
  command->require_subcommand(1);
  auto options = std::make_shared<Options>();

  CLI::App* check =
      command->add_subcommand("validate", "Hold a data set against the schema; exit with 1 on errors");
  add_data_set(check, options);
  check
      ->add_option("--checks", options->checks,
                   "layout, definition, workload, solution, trace, baseline (default: all)")
      ->delimiter(',');
  check->add_option("--op-types", options->op_types, "Only definitions of these operators");
  check->add_option("--definitions", options->definitions, "Only these definitions");
  check->callback([&action, options] { action = [options] { return validate(*options); }; });

  add_trace_explain(*command, action);
  add_trace_run(*command, action);

  CLI::App* summary =
      command->add_subcommand("summary", "What a data set holds, and the best solution of each definition");
  add_data_set(summary, options);
  summary->callback([&action, options] {
    action = [options] { return summarise(*options, trace::summary_text, trace::summary_json); };
  });

  CLI::App* rank = command->add_subcommand("rank", "Authors by the mean score of their best solutions");
  add_data_set(rank, options);
  rank->callback([&action, options] {
    action = [options] { return summarise(*options, trace::ranking_text, trace::ranking_json); };
  });
}

}  // namespace strobe::cli
