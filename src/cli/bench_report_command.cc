// strobe bench report: the page of results that were written before.
#include <memory>

#include "bench/output_file.h"
#include "bench/report/report_page.h"
#include "bench/result_file.h"
#include "cli/cli.h"
#include "cli/commands.h"

namespace strobe::cli {
namespace {

int write_report(const std::vector<std::string>& inputs, const std::string& output) {
  std::vector<bench::ResultFile> files;
  for (const std::string& path : inputs) files.push_back(bench::load_result(path));
  const bench::OutputFile file(output);
  file.write(bench::report::report_page(std::move(files)));
  return kOk;
}

}  // namespace

void add_bench_report(CLI::App& bench, Action& action) {
  struct Flags {
    std::vector<std::string> inputs;
    std::string output;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command = bench.add_subcommand("report", "Write the page of result files of one machine");
  command->add_option("FILE", flags->inputs, "Files of bench --json")->required();
  command->add_option("-o,--output", flags->output, "The page (HTML)")->required();
  command->callback([=, &action] { action = [=] { return write_report(flags->inputs, flags->output); }; });
}

}  // namespace strobe::cli
