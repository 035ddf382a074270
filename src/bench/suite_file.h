// Suites as files: cases in JSON, with the shapes of a model. docs/bench.md has the schema.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bench/case_line.h"

namespace strobe::bench {

struct Suite {
  std::string name;
  std::string description;
  std::vector<BenchCase> cases;
};

// `file` is the name that errors carry, with the line where the case begins: Error(kInvalidArgument) for what
// is no JSON, an unknown or repeated key, an unknown routine, parameter or included suite, and for a value
// that the parameter does not take.
Suite parse_suite(std::string_view file, std::string_view text);

// Throws Error(kIo) too, when the file cannot be read.
Suite read_suite(const std::string& path);

}  // namespace strobe::bench
