#include "bench/report/page_header.h"

#include <fmt/format.h>

#include <algorithm>

#include "bench/machine.h"
#include "bench/report/format.h"
#include "bench/report/html.h"
#include "bench/report/result_table.h"
#include "bench/roofline.h"

namespace strobe::bench::report {
namespace {

std::string rate_cells(const LimitRates& rates) {
  return number_cell(rates.dram_read_gbs, "", gigabytes_per_second(rates.dram_read_gbs)) +
         number_cell(rates.copy_gbs, "", gigabytes_per_second(rates.copy_gbs)) +
         number_cell(rates.fma_gflops, "", rates.fma_gflops > 0 ? gigaflops(rates.fma_gflops) : "–") +
         number_cell(rates.bf16_dot_gflops, "",
                     rates.bf16_dot_gflops > 0 ? gigaflops(rates.bf16_dot_gflops) : "–") +
         number_cell(rates.e4m3_dot_gflops, "",
                     rates.e4m3_dot_gflops > 0 ? gigaflops(rates.e4m3_dot_gflops) : "–");
}

std::string limits_row(const std::string& when, const std::string& isa, int threads,
                       const LimitRates& rates) {
  return element("tr", "",
                 element("th", "scope=\"row\"", escaped(when)) + element("td", "", escaped(isa)) +
                     number_cell(threads, "", threads > 0 ? std::to_string(threads) : "–") +
                     rate_cells(rates)) +
         "\n";
}

// The lowest and highest limits beside the rows of one level of a file.
std::string beside_rows(const ResultFile& file, const Limits& level, const std::string& run) {
  LimitRates low, high;
  bool found = false;
  for (const ResultRow& row : file.rows)
    if (row.device == level.device && row.isa == level.isa && row.threads == level.threads) {
      low = found ? smaller(low, row.limits) : row.limits;
      high = found ? larger(high, row.limits) : row.limits;
      found = true;
    }
  if (!found) return {};
  return limits_row(run + "beside the cases, lowest", level.isa, level.threads, low) +
         limits_row(run + "beside the cases, highest", level.isa, level.threads, high);
}

// "run 2, " when there are more.
std::string run_name(const Results& results, const ResultFile& file) {
  if (results.files().size() == 1) return {};
  return fmt::format("run {}, ", &file - results.files().data() + 1);
}

std::string limits_table(const Results& results) {
  std::string rows;
  for (const ResultFile& file : results.files()) {
    const std::string run = run_name(results, file);
    for (const Limits& level : file.before)
      rows += limits_row(run + "before", level.isa, level.threads, level.max);
    for (const Limits& level : file.before) rows += beside_rows(file, level, run);
    for (const Limits& level : file.after)
      rows += limits_row(run + "after", level.isa, level.threads, level.max);
  }
  return "<div class=\"table\" role=\"region\" aria-label=\"Measured limits\" tabindex=\"0\">\n<table>\n"
         "<caption>Measured limits, all threads at once.</caption>\n"
         "<thead><tr><th scope=\"col\">when</th><th scope=\"col\">level</th><th scope=\"col\" "
         "class=\"num\">threads</th>"
         "<th scope=\"col\" class=\"num\">DRAM read</th><th scope=\"col\" class=\"num\">copy</th>"
         "<th scope=\"col\" class=\"num\">f32 FMA</th><th scope=\"col\" class=\"num\">bf16 "
         "dot</th><th scope=\"col\" class=\"num\">e4m3 dot</th></tr></thead>\n<tbody>\n" +
         rows + "</tbody>\n</table>\n</div>\n";
}

}  // namespace

std::string page_header(std::string_view title, std::string_view subtitle) {
  return element("header", "",
                 element("div", "class=\"title\"",
                         element("h1", "", escaped(title)) +
                             element("p", "class=\"subtitle\"", escaped(subtitle))) +
                     "<button type=\"button\" id=\"theme\" hidden>Theme: auto</button>") +
         "\n";
}

std::string page_footer(std::string_view version) {
  return element("footer", "", "Written by strobe " + escaped(version) + ".") + "\n";
}

std::string section(std::string_view heading, std::string_view content) {
  return fmt::format("<section>\n<h2>{}</h2>\n{}</section>\n", escaped(heading), content);
}

std::string tiles_html(const std::vector<Tile>& tiles) {
  std::string items;
  for (const auto& [value, unit, label] : tiles)
    items += element("div", "",
                     element("dt", "", escaped(label)) +
                         element("dd", "", escaped(value) + " " + element("span", "", escaped(unit))));
  return element("dl", "class=\"tiles\"", items) + "\n";
}

std::string date_text(const std::string& date) {
  if (date.size() < 16 || date[10] != 'T') return date;
  return date.substr(0, 10) + " " + date.substr(11, 5) + " UTC";
}

std::string subtitle(const Results& results) {
  const ResultFile& first = results.files().front();
  std::string text = results.shared_variant();
  if (!text.empty()) text += " · ";
  return text + fmt::format("{} · strobe {}, commit {}", date_text(first.date), first.version, first.commit);
}

std::string machine_html(const Results& results) {
  const ResultMachine& machine = results.files().front().machine;
  std::vector<std::pair<std::string, std::string>> pairs = {
      {"CPU", escaped(machine.cpu)},
      {"CPUs in use", std::to_string(machine.cpus)},
      {"memory", bytes_text(machine.memory_bytes)},
      {"caches", fmt::format("{} L1d, {} L2, {} last level", bytes_text(machine.l1d_bytes),
                             bytes_text(machine.l2_bytes), bytes_text(machine.llc_bytes))},
      {"levels", escaped(fmt::format("{}", fmt::join(machine.isa_levels, ", ")))},
      {"system", escaped(machine.system)}};
  for (const std::string& gpu : machine.gpus) pairs.emplace_back("GPU", escaped(gpu));
  return facts(pairs) + limits_table(results);
}

std::string runs_html(const Results& results) {
  std::string items;
  for (const ResultFile& file : results.files())
    items += element("p", "class=\"run\"",
                     escaped(fmt::format("{}{}, strobe {}, commit {}", run_name(results, file),
                                         date_text(file.date), file.version, file.commit))) +
             command_block(file.command);
  return items;
}

}  // namespace strobe::bench::report
