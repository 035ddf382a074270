#pragma once

#include <string>

#include "bench/report/results.h"

namespace strobe::bench::report {

// Every row with its reference check; behind each its errors, limits and the command that repeats it.
std::string result_table(const Results& results);

// "✓ pass", marked for page.css.
std::string check_mark(const ResultCheck& check);
// A command to copy.
std::string command_block(std::string_view command);
// <dl> of names and values; the values are HTML.
std::string facts(const std::vector<std::pair<std::string, std::string>>& pairs);
// <td> that sorts by a number.
std::string number_cell(double key, std::string_view css, std::string_view text);

}  // namespace strobe::bench::report
