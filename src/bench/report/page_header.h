// What stands around the pictures: title, key numbers, the machine, the commands.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bench/report/results.h"

namespace strobe::bench::report {

// Title and theme switch; both texts are escaped here.
std::string page_header(std::string_view title, std::string_view subtitle);
std::string page_footer(std::string_view version);
// <section> with a heading (text) and its content (HTML).
std::string section(std::string_view heading, std::string_view content);

// A key number; all are text.
struct Tile {
  std::string value, unit, label;
};
std::string tiles_html(const std::vector<Tile>& tiles);

// Level, threads, date, version.
std::string subtitle(const Results& results);
// Facts about the machine, and its limits before, beside and after the cases.
std::string machine_html(const Results& results);
// The commands that made the results.
std::string runs_html(const Results& results);

// "2026-11-20 09:32 UTC" of "2026-11-20T09:32:17Z"; other texts as they are.
std::string date_text(const std::string& date);

}  // namespace strobe::bench::report
