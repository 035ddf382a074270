// The built-in suites: the files of suites/, which are part of the program.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/suite_file.h"

namespace strobe::bench {

struct SuiteText {
  std::string_view name;  // of the file, without .json
  std::string_view json;
};

// Generated at build time, in the order of STROBE_SUITES (cmake/StrobeSuites.cmake).
std::span<const SuiteText> suite_texts();

std::vector<std::string_view> suite_names();

// Of a built-in suite, or of the user's file when the name ends with ".json" or has a '/'. Throws
// Error(kInvalidArgument) that lists the names for an unknown one, and what parse_suite throws.
std::vector<BenchCase> suite_cases(std::string_view name_or_file);

}  // namespace strobe::bench
