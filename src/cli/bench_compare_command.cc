// strobe bench compare: two result files, and an exit status for CI.
#include <fmt/format.h>

#include <memory>
#include <optional>

#include "bench/compare/compare.h"
#include "bench/output_file.h"
#include "bench/report/compare_page.h"
#include "cli/cli.h"
#include "cli/commands.h"

namespace strobe::cli {
namespace {

struct CompareFlags {
  std::string a, b, threshold = "5%", report;
};

int compare(const CompareFlags& flags) {
  const double threshold = bench::parse_threshold(flags.threshold);
  const bench::ResultFile a = bench::load_result(flags.a), b = bench::load_result(flags.b);
  const bench::Comparison comparison = bench::compare(a, b, threshold);
  std::optional<bench::OutputFile> page;
  if (!flags.report.empty()) page.emplace(flags.report);
  fmt::print("{}", bench::comparison_text(comparison, a, b));
  if (page) page->write(bench::report::compare_page(comparison, a, b));
  return comparison.count(bench::Verdict::kSlower) > 0 ? kFailed : kOk;
}

// 1 says that something is slower, so that every error is 2.
int compare_or_fail(const CompareFlags& flags) {
  try {
    return compare(flags);
  } catch (const std::exception& error) {
    std::fflush(stdout);
    fmt::print(stderr, "strobe: {}\n", error.what());
    return kUsage;
  }
}

}  // namespace

void add_bench_compare(CLI::App& bench, Action& action) {
  auto flags = std::make_shared<CompareFlags>();
  CLI::App* command = bench.add_subcommand(
      "compare", "Compare two result files; exit status 1 when a case of B is slower, 2 on errors");
  command->add_option("A", flags->a, "File of bench --json: the measure")->required();
  command->add_option("B", flags->b, "File of bench --json: what is held against it")->required();
  command->add_option("--threshold", flags->threshold, "The change that counts")->capture_default_str();
  command->add_option("--report", flags->report, "Write the comparison as a page (HTML)");
  command->callback([=, &action] { action = [=] { return compare_or_fail(*flags); }; });
}

}  // namespace strobe::cli
