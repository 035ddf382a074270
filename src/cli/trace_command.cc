// strobe trace: data sets of kernel definitions, solutions, workloads and traces.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <filesystem>
#include <memory>

#include "bench/output_file.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "op/operator.h"
#include "trace/data_set.h"
#include "trace/export.h"
#include "trace/run/leaderboard_page.h"
#include "trace/summary.h"
#include "trace/validate.h"

namespace strobe::cli {
namespace {

struct Options {
  std::string data_set;
  std::vector<std::string> checks, op_types, definitions;
  std::string dialect = "bench";
  std::string json, hardware;

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

void add_hardware(CLI::App* command, const std::shared_ptr<Options>& options) {
  command->add_option("--hardware", options->hardware,
                      "Only traces of this machine, by its name in the traces");
}

int summarise(const Options& options, std::string (*text)(const trace::DataSet&),
              std::string (*json)(const trace::DataSet&)) {
  const std::optional<bench::OutputFile> file =
      options.json.empty() ? std::nullopt : std::optional<bench::OutputFile>(options.json);
  trace::DataSet set(options.data_set, options.read_dialect());
  const std::vector<std::string> machines = set.hardware();
  if (!options.hardware.empty()) {
    if (std::find(machines.begin(), machines.end(), options.hardware) == machines.end())
      throw Error(ErrorKind::kInvalidArgument, fmt::format("--hardware: expected one of {}, got '{}'",
                                                           fmt::join(machines, ", "), options.hardware));
    set.keep_traces_on(options.hardware);
  }
  fmt::print("{}", text(set));
  if (options.hardware.empty() && machines.size() > 1)
    fmt::print("The traces are of several machines ({}); --hardware takes those of one.\n",
               fmt::join(machines, ", "));
  if (file) file->write(json(set));
  return kOk;
}

struct ReportChoice {
  std::string data_set, output;
  trace::LeaderboardOptions options;
};

void add_report(CLI::App& command, Action& action) {
  CLI::App* report =
      command.add_subcommand("report", "Write a page with the solutions of each definition, best first");
  auto choice = std::make_shared<ReportChoice>();
  report->add_option("data_set", choice->data_set, "The folder of the data set")->required();
  report->add_option("-o,--output", choice->output, "The page (HTML)")->required();
  report
      ->add_option("--bandwidth", choice->options.bandwidth,
                   "GB/s that the machine can move, drawn as the roof")
      ->check(CLI::Range(0.0, 1e6));
  report->callback([&action, choice] {
    action = [choice] {
      const bench::OutputFile file(choice->output);
      file.write(trace::leaderboard_page(trace::DataSet(choice->data_set), choice->options));
      return kOk;
    };
  });
}

struct ExportChoice {
  std::string data_set;
  std::vector<std::string> operators, axes, values;
  trace::ExportOptions options;
};

// NAME and VALUE of "hidden_size=4096".
std::pair<std::string, std::string> pair_of(const char* flag, const std::string& text) {
  const std::size_t equal = text.find('=');
  if (equal == std::string::npos || equal == 0 || equal + 1 == text.size())
    throw Error(ErrorKind::kInvalidArgument, fmt::format("{}: expected NAME=VALUE, got '{}'", flag, text));
  return {text.substr(0, equal), text.substr(equal + 1)};
}

std::int64_t size_of(const std::string& text) {
  std::int64_t size = 0;
  const char* const end = text.data() + text.size();
  if (std::from_chars(text.data(), end, size).ptr != end || size < 1)
    throw Error(ErrorKind::kInvalidArgument,
                fmt::format("--axes: expected a size of at least 1, got '{}'", text));
  return size;
}

// A number or a word of Python, so that the reference stays a call with constants.
std::string constant(const std::string& text) {
  const bool plain = std::all_of(text.begin(), text.end(), [](unsigned char letter) {
    return std::isalnum(letter) != 0 || letter == '.' || letter == '-' || letter == '+' || letter == '_';
  });
  if (!plain)
    throw Error(ErrorKind::kInvalidArgument,
                fmt::format("--values: expected a number, True or False, got '{}'", text));
  return text;
}

int export_definitions(ExportChoice choice) {
  for (const std::string& text : choice.axes) {
    const auto [name, size] = pair_of("--axes", text);
    choice.options.axes[name] = size_of(size);
  }
  for (const std::string& text : choice.values) {
    const auto [name, value] = pair_of("--values", text);
    choice.options.values[name] = constant(value);
  }
  std::filesystem::create_directories(choice.data_set);
  trace::DataSet set(choice.data_set);
  std::vector<const op::Operator*> operators;
  for (const std::string& name : choice.operators) {
    operators.push_back(op::registry().find(name));
    if (operators.back() == nullptr)
      throw Error(ErrorKind::kInvalidArgument,
                  fmt::format("there is no operator '{}'; `strobe docs` lists them", name));
  }
  if (operators.empty()) operators.assign(op::registry().all().begin(), op::registry().all().end());
  for (const op::Operator* op : operators) {
    try {
      const trace::Definition definition = trace::export_definition(*op, choice.options);
      set.add(definition);
      fmt::print("{}\n", trace::DataSet::place_of(definition).string());
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kUnsupported || !choice.operators.empty()) throw;
      fmt::print("skipped {}: {}\n", op->name, error.what());
    }
  }
  return kOk;
}

void add_export(CLI::App& command, Action& action) {
  CLI::App* exported =
      command.add_subcommand("export", "Write definitions of Strobe's operators into a data set");
  auto choice = std::make_shared<ExportChoice>();
  exported->add_option("data_set", choice->data_set, "The folder of the data set; made when it is not there")
      ->required();
  exported->add_option("--operators", choice->operators, "Only these operators")->delimiter(',');
  exported->add_option("--axes", choice->axes, "Axes that are constant: hidden_size=4096,…")->delimiter(',');
  exported->add_option("--values", choice->values, "Attributes that are not at their default: eps=1e-6,…")
      ->delimiter(',');
  exported->add_option("--dtype", choice->options.dtype, "The dtype of operands that may have it")
      ->capture_default_str();
  exported->callback([&action, choice] { action = [choice] { return export_definitions(*choice); }; });
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
  add_export(*command, action);
  add_report(*command, action);

  CLI::App* summary =
      command->add_subcommand("summary", "What a data set holds, and the best solution of each definition");
  add_data_set(summary, options);
  add_hardware(summary, options);
  summary->callback([&action, options] {
    action = [options] { return summarise(*options, trace::summary_text, trace::summary_json); };
  });

  CLI::App* rank = command->add_subcommand("rank", "Authors by the mean score of their best solutions");
  add_data_set(rank, options);
  add_hardware(rank, options);
  rank->callback([&action, options] {
    action = [options] { return summarise(*options, trace::ranking_text, trace::ranking_json); };
  });
}

}  // namespace strobe::cli
