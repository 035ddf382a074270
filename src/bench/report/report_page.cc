#include "bench/report/report_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bench/machine.h"
#include "bench/report/format.h"
#include "bench/report/html.h"
#include "bench/report/page_header.h"
#include "bench/report/result_table.h"
#include "bench/report/results.h"
#include "bench/report/roofline_chart.h"
#include "bench/report/routine_chart.h"
#include "bench/report/sweep_charts.h"
#include "bench/report/workload_chart.h"

namespace strobe::bench::report {
namespace {

// "42.9 GB/s" as value and unit.
Tile tile_of(const std::string& quantity, std::string label) {
  const std::size_t space = quantity.find("\u00a0");
  if (space == std::string::npos) return {quantity, "", std::move(label)};
  return {quantity.substr(0, space), quantity.substr(space + 2), std::move(label)};
}

const ResultRow* best(const Results& results, std::string_view word, double (ResultRow::*rate)() const) {
  const ResultRow* found = nullptr;
  for (const ResultRow* row : results.rows())
    if (row->routine.find(word) != std::string::npos && (!found || (row->*rate)() > (found->*rate)()))
      found = row;
  return found;
}

double median_fraction(const std::vector<const ResultRow*>& rows) {
  std::vector<double> fractions;
  for (const ResultRow* row : rows) fractions.push_back(row->fraction);
  return median_of(fractions);
}

std::string check_label(std::size_t checked, std::size_t all) {
  return checked == all
             ? "cases agree with the FP64 reference"
             : fmt::format("checked cases agree with the FP64 reference; {} were not checked", all - checked);
}

void add_case_tiles(const Results& results, std::vector<Tile>& tiles) {
  if (results.rows().empty()) return;
  const auto bound_by = [&](Bound bound) {
    return results.rows_where([=](const ResultRow& row) { return row.bound == bound; });
  };
  const auto memory = bound_by(Bound::kMemory), compute = bound_by(Bound::kCompute);
  std::string parts;
  if (!memory.empty() && !compute.empty())
    parts = fmt::format(": {} where memory binds, {} where arithmetic does", percent(median_fraction(memory)),
                        percent(median_fraction(compute)));
  tiles.push_back(
      tile_of(percent(median_fraction(results.rows())),
              fmt::format("of what the machine allows, median of {} cases{}", results.rows().size(), parts)));
  if (const ResultRow* row = best(results, "decode", &ResultRow::gbs))
    tiles.push_back(tile_of(gigabytes_per_second(row->gbs()),
                            fmt::format("read by the best decode, {} of its limit", percent(row->fraction))));
  if (const ResultRow* row = best(results, "prefill", &ResultRow::gflops))
    tiles.push_back(tile_of(gigaflops(row->gflops()),
                            fmt::format("in the best prefill, {} of its limit", percent(row->fraction))));
  const auto checked = results.rows_where([](const ResultRow& row) { return row.check.state != "skipped"; });
  const auto passed = results.rows_where([](const ResultRow& row) { return row.check.state == "pass"; });
  if (!checked.empty())
    tiles.push_back({fmt::format("{}", passed.size()), fmt::format("of {}", checked.size()),
                     check_label(checked.size(), results.rows().size())});
}

std::string headline(const Results& results) {
  std::vector<Tile> tiles;
  add_case_tiles(results, tiles);
  for (const ResultWorkload* workload : results.workloads())
    tiles.push_back({grouped(workload->tokens_per_s), "tokens/s",
                     fmt::format("through one attention layer, workload {}", workload->name)});
  return tiles_html(tiles);
}

std::string workload_section(const ResultWorkload& workload) {
  const auto value = [&](std::string_view name) {
    const std::string* text = find_value(workload.values, name);
    return text ? *text : std::string("?");
  };
  const std::string about = fmt::format(
      "<p class=\"lead\">The attention layer of {}, {} steps of a continuous-batching server, {:.1f} "
      "requests in a batch "
      "on average.</p>\n",
      escaped(value("model")), workload.steps.size(), workload.batch_mean);
  const std::string numbers = facts({{"throughput", grouped(workload.tokens_per_s) + " tokens/s"},
                                     {"step, median", milliseconds(workload.step_median_ms)},
                                     {"step, p99", milliseconds(workload.step_p99_ms)},
                                     {"plan, median", milliseconds(workload.plan_median_us * 1e-3)},
                                     {"of limit", percent(workload.fraction)},
                                     {"preemptions", grouped(workload.preemptions)},
                                     {"reference check", check_mark(workload.check)}});
  const std::string failure =
      workload.check.message.empty() ? "" : element("p", "class=\"notice\"", escaped(workload.check.message));
  return section("Workload " + workload.name,
                 about + numbers + failure + workload_figure(workload) + command_block(workload.repro));
}

std::string reading_notes() {
  return "<p>Times are medians of single calls on cold inputs; spread is their standard deviation over the "
         "median. A "
         "case’s floor is the least time in which this machine can read and write its bytes or do its "
         "arithmetic, "
         "whichever is longer, by limits measured just before and after the case. “Of limit” is floor over "
         "median.</p>\n";
}

}  // namespace

std::string report_page(std::vector<ResultFile> files) {
  const Results results(std::move(files));
  const ResultFile& first = results.files().front();
  std::string body = page_header("Strobe on " + first.machine.cpu, subtitle(results));
  body += "<main>\n" + headline(results);
  if (!results.rows().empty())
    body += section("Roofline", roofline_figure(results) + routine_figure(results));
  const std::string sweeps = decode_figures(results) + prefill_figure(results);
  if (!sweeps.empty()) body += section("Attention", sweeps);
  for (const ResultWorkload* workload : results.workloads()) body += workload_section(*workload);
  if (!results.rows().empty()) body += section("All cases", result_table(results));
  body += section("Machine and method", machine_html(results) + reading_notes() + runs_html(results));
  body += "</main>\n" + page_footer(first.version);
  return page("Strobe on " + first.machine.cpu, body);
}

}  // namespace strobe::bench::report
