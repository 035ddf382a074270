#include "bench/report/result_table.h"

#include <fmt/format.h>

#include "bench/report/format.h"
#include "bench/report/html.h"
#include "bench/report/svg.h"

namespace strobe::bench::report {
namespace {

std::string limits_text(const LimitRates& limits) {
  std::string text = fmt::format("DRAM read {}, copy {}", gigabytes_per_second(limits.dram_read_gbs),
                                 gigabytes_per_second(limits.copy_gbs));
  if (limits.fma_gflops > 0) text += ", f32 FMA " + gigaflops(limits.fma_gflops);
  if (limits.bf16_dot_gflops > 0) text += ", bf16 dot " + gigaflops(limits.bf16_dot_gflops);
  if (limits.e4m3_dot_gflops > 0) text += ", e4m3 dot " + gigaflops(limits.e4m3_dot_gflops);
  return text;
}

std::string calls_text(const ResultRow& row) {
  std::string text = fmt::format("{} on {} {} of the inputs", row.num_iters, row.instances,
                                 row.instances == 1 ? "copy" : "copies");
  if (row.outliers > 0)
    text += fmt::format(", {} {} far from the others", row.outliers, row.outliers == 1 ? "lies" : "lie");
  return text;
}

std::string behind(const ResultRow& row) {
  std::vector<std::pair<std::string, std::string>> pairs = {
      {"fastest call", milliseconds(row.min_ms)},
      {"calls", calls_text(row)},
      {"work", fmt::format("{} FLOP, {} B read, {} B written", grouped(row.flops), grouped(row.read_bytes),
                           grouped(row.written_bytes))},
      {"limits beside it", limits_text(row.limits)}};
  if (row.plan_us) pairs.emplace_back("plan", milliseconds(*row.plan_us * 1e-3));
  if (row.check.max_abs_err)
    pairs.emplace_back("largest error", fmt::format("{:.3g} (relative {:.3g})", *row.check.max_abs_err,
                                                    row.check.max_rel_err.value_or(0)));
  if (!row.check.message.empty()) pairs.emplace_back("check", escaped(row.check.message));
  return element("div", "class=\"behind\"", element("div", "", facts(pairs) + command_block(row.repro)));
}

std::string row_html(const Results& results, const ResultRow& row) {
  const std::string variant = results.variant(row);
  const std::string label =
      inline_marker(kind_of(row.routine)) + element("span", "class=\"routine\"", breakable(row.routine)) +
      " " +
      element("span", "class=\"case\"", escaped(case_text(row) + (variant.empty() ? "" : " · " + variant)));
  const std::string cells =
      fmt::format("<th scope=\"row\" data-key=\"{}\"><details><summary>{}</summary>{}</details></th>",
                  escaped(row.routine), label, behind(row)) +
      number_cell(row.median_ms, "", milliseconds(row.median_ms)) +
      number_cell(row.std_ms / row.median_ms, "extra",
                  fmt::format("±{:.1f} %", 100 * row.std_ms / row.median_ms)) +
      number_cell(row.bound == Bound::kMemory ? row.gbs() : row.gflops(), "more", rate_text(row)) +
      fmt::format("<td class=\"extra\">{}</td>", name(row.bound)) +
      number_cell(row.fraction, "share",
                  fmt::format("<span class=\"bar\" style=\"--part:{:.1f}%\"></span>{}",
                              100 * std::min(1.0, row.fraction), percent(row.fraction))) +
      element("td", "", check_mark(row.check));
  return element("tr", "", cells) + "\n";
}

}  // namespace

std::string breakable(const std::string& name) {
  std::string html = escaped(name);
  for (std::size_t i = html.find('_'); i != std::string::npos; i = html.find('_', i + 1))
    html.insert(i + 1, "<wbr>");
  return html;
}

std::string check_mark(const ResultCheck& check) {
  const bool pass = check.state == "pass", skipped = check.state == "skipped";
  return fmt::format("<span class=\"check {}\">{} <span>{}</span></span>",
                     pass      ? "good"
                     : skipped ? "none"
                               : "bad",
                     pass      ? "✓"
                     : skipped ? "–"
                               : "✗",
                     escaped(check.state));
}

std::string command_block(std::string_view command) {
  return element("pre", "tabindex=\"0\"", element("code", "", escaped(command)));
}

std::string facts(const std::vector<std::pair<std::string, std::string>>& pairs) {
  std::string items;
  for (const auto& [name, value] : pairs)
    items += element("div", "", element("dt", "", escaped(name)) + element("dd", "", value));
  return element("dl", "class=\"facts\"", items);
}

std::string number_cell(double key, std::string_view css, std::string_view text) {
  return fmt::format("<td class=\"num{}{}\" data-key=\"{:.9g}\">{}</td>", css.empty() ? "" : " ", css, key,
                     text);
}

std::string result_table(const Results& results) {
  if (results.rows().empty()) return {};
  std::string rows;
  for (const ResultRow* row : results.rows()) rows += row_html(results, *row);
  return fmt::format(
      "<div class=\"table\" role=\"region\" aria-label=\"All cases\" tabindex=\"0\">\n"
      "<table class=\"sortable\" data-noun=\"cases\">\n<caption>Behind each case: its fastest call, errors, "
      "limits and the command "
      "that repeats it.</caption>\n<thead><tr><th scope=\"col\">case</th><th scope=\"col\" "
      "class=\"num\">median</th>"
      "<th scope=\"col\" class=\"num extra\">spread</th><th scope=\"col\" class=\"num more\">rate</th>"
      "<th scope=\"col\" class=\"extra\">bound by</th><th scope=\"col\" class=\"num\">of limit</th>"
      "<th scope=\"col\">check</th></tr></thead>\n<tbody>\n{}</tbody>\n</table>\n</div>\n",
      rows);
}

}  // namespace strobe::bench::report
