// The built-in suites: tables of cases with the shapes of real models.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "bench/case_line.h"

namespace strobe::bench {

struct Suite {
  std::string_view name;
  std::string_view doc;
  std::string_view lines;  // in the form of parse_suite
};

std::span<const Suite> suites();
std::vector<std::string_view> suite_names();

// Throws Error(kInvalidArgument) that lists the names for an unknown one.
std::vector<BenchCase> suite_cases(std::string_view name);

}  // namespace strobe::bench
