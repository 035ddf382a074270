#include "bench/report/compare_page.h"

#include <fmt/format.h>

#include <algorithm>

#include "bench/report/format.h"
#include "bench/report/html.h"
#include "bench/report/page_header.h"
#include "bench/report/ratio_chart.h"
#include "bench/report/result_table.h"
#include "bench/report/svg.h"

namespace strobe::bench::report {
namespace {

std::string verdict_cell(const CaseVerdict& result) {
  const Kind& mark = mark_of(result.verdict);
  const std::string why =
      result.reason.empty() ? "" : " " + element("span", "class=\"case\"", escaped(result.reason));
  return fmt::format("<td>{}<span class=\"{}\">{}</span>{}</td>", inline_marker(mark),
                     result.verdict == Verdict::kSlower   ? "slower"
                     : result.verdict == Verdict::kFaster ? "faster"
                                                          : "plain",
                     mark.label, why);
}

// Level and threads, where the cases are not all of one.
std::string variant_of(const Comparison& comparison, const ResultRow& row) {
  const ResultRow& first = *comparison.cases.front().a;
  const bool one = std::all_of(comparison.cases.begin(), comparison.cases.end(), [&](const ComparedCase& c) {
    return c.a->isa == first.isa && c.a->threads == first.threads;
  });
  if (one) return "";
  return row.threads > 0 ? fmt::format(" · {}, {} threads", row.isa, row.threads)
                         : fmt::format(" · {}, {}", row.device, row.isa);
}

std::string case_cell(const Comparison& comparison, const ResultRow& a, const ResultRow& b) {
  const std::string commands = element("p", "class=\"run\"", "A") + command_block(a.repro) +
                               element("p", "class=\"run\"", "B") + command_block(b.repro);
  return fmt::format(
      "<th scope=\"row\" data-key=\"{0}\"><details><summary><span class=\"routine\">{1}</span> <span "
      "class=\"case\">{2}</span></summary><div class=\"behind\"><div>{3}</div></div></details></th>",
      escaped(a.routine), breakable(a.routine), escaped(case_text(a) + variant_of(comparison, a)), commands);
}

std::string time_cell(const ResultRow& row) {
  return number_cell(row.median_ms, "more",
                     fmt::format("{} <span class=\"case\">±{:.1f} %</span>", milliseconds(row.median_ms),
                                 100 * row.std_ms / row.median_ms));
}

std::string case_row(const Comparison& comparison, const ComparedCase& c) {
  const Ratio& ratio = c.result.ratio;
  return element("tr", "",
                 case_cell(comparison, *c.a, *c.b) + verdict_cell(c.result) +
                     number_cell(ratio.median, "", fmt::format("{:.3f}", ratio.median)) +
                     number_cell(ratio.low, "extra", fmt::format("{:.3f} to {:.3f}", ratio.low, ratio.high)) +
                     time_cell(*c.a) + time_cell(*c.b) +
                     number_cell(ratio.machine, "extra", fmt::format("{:.2f}", ratio.machine)) +
                     element("td", "class=\"extra\"", check_mark(c.b->check))) +
         "\n";
}

std::string case_table(const Comparison& comparison) {
  std::string rows;
  for (const ComparedCase& c : comparison.cases) rows += case_row(comparison, c);
  return "<div class=\"table\" role=\"region\" aria-label=\"All cases\" tabindex=\"0\">\n"
         "<table class=\"sortable\" data-noun=\"cases\">\n<caption>Medians with the standard deviation of "
         "the calls. "
         "“Machine” is what the change of the limits alone would make of the ratio. Behind each case: its "
         "commands.</caption>\n"
         "<thead><tr><th scope=\"col\">case</th><th scope=\"col\">verdict</th><th scope=\"col\" "
         "class=\"num\">B / A</th>"
         "<th scope=\"col\" class=\"num extra\">interval</th><th scope=\"col\" class=\"num more\">A</th>"
         "<th scope=\"col\" class=\"num more\">B</th><th scope=\"col\" class=\"num extra\">machine</th>"
         "<th scope=\"col\" class=\"extra\">check of B</th></tr></thead>\n<tbody>\n" +
         rows + "</tbody>\n</table>\n</div>\n";
}

std::string key_html(const Comparison& comparison) {
  std::string items;
  for (Verdict verdict :
       {Verdict::kSlower, Verdict::kFaster, Verdict::kSame, Verdict::kNotResolved, Verdict::kMachineChanged})
    if (comparison.count(verdict) > 0)
      items += element("li", "", inline_marker(mark_of(verdict)) + std::string(name(verdict)));
  return element("ul", "class=\"key\" aria-label=\"Shapes\"", items) + "\n";
}

std::string headline(const Comparison& comparison) {
  std::vector<Tile> tiles;
  const std::pair<Verdict, const char*> verdicts[] = {
      {Verdict::kSlower, "in B, more than the threshold and its scatter"},
      {Verdict::kFaster, "in B, more than the threshold and its scatter"},
      {Verdict::kSame, "within the threshold"},
      {Verdict::kNotResolved, "scatter too much to tell"},
      {Verdict::kMachineChanged, "cannot be told from the machine"}};
  for (const auto& [verdict, label] : verdicts)
    tiles.push_back({std::to_string(comparison.count(verdict)), std::string(name(verdict)), label});
  return tiles_html(tiles);
}

std::string differences_html(const Comparison& comparison) {
  if (comparison.differences.empty()) return "<p>Version, commit and machine are the same.</p>\n";
  std::string rows;
  for (const Difference& d : comparison.differences)
    rows += element("tr", "",
                    element("th", "scope=\"row\"", escaped(d.field)) + element("td", "", escaped(d.a)) +
                        element("td", "", escaped(d.b)));
  return "<div class=\"table\" role=\"region\" aria-label=\"What differs\" "
         "tabindex=\"0\">\n<table>\n<caption>What differs.</caption>\n"
         "<thead><tr><th scope=\"col\">field</th><th scope=\"col\">A</th><th "
         "scope=\"col\">B</th></tr></thead>\n<tbody>\n" +
         rows + "</tbody>\n</table>\n</div>\n";
}

std::string unpaired_html(const char* title, const std::vector<const ResultRow*>& rows) {
  if (rows.empty()) return {};
  std::string items;
  for (const ResultRow* row : rows)
    items += element("li", "",
                     element("span", "class=\"routine\"", escaped(row->routine)) + " " +
                         element("span", "class=\"case\"", escaped(case_text(*row))));
  return element("h3", "", title) + element("ul", "class=\"plain-list\"", items) + "\n";
}

std::string run_html(const char* label, const ResultFile& file) {
  return element("p", "class=\"run\"",
                 escaped(fmt::format("{}: {}, {}, strobe {}, commit {}", label, file.name,
                                     date_text(file.date), file.version, file.commit))) +
         command_block(file.command);
}

}  // namespace

std::string compare_page(const Comparison& comparison, const ResultFile& a, const ResultFile& b) {
  const std::string title = "Strobe, " + a.commit + " against " + b.commit;
  std::string body =
      page_header(title, fmt::format("A is {}, {} · B is {}, {} · {}", a.name, date_text(a.date), b.name,
                                     date_text(b.date), b.machine.cpu));
  body += "<main>\n" + headline(comparison);
  body += section("Ratios", ratio_figure(comparison) + key_html(comparison));
  body += section("All cases", case_table(comparison) + unpaired_html("Only in A", comparison.only_a) +
                                   unpaired_html("Only in B", comparison.only_b));
  body += section("The two runs", differences_html(comparison) + run_html("A", a) + run_html("B", b));
  body += "</main>\n" + page_footer(b.version);
  return page(title, body);
}

}  // namespace strobe::bench::report
