// Cases as they stand on a command line or in a suite: a routine and its flags.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "op/routine.h"

namespace strobe::bench {

struct BenchCase {
  op::NamedRoutine routine;
  op::Case values;
  std::string flags;             // as written: "--num_tokens 64"
  std::optional<int> num_iters;  // of its own, in a suite's line
};

// Values of parameters from "--name value", "--name=value" or "--name" (true) words; others keep their
// defaults. `what` stands before an error's message: Error(kInvalidArgument) for a word that is no flag, or
// an unknown or repeated flag.
op::Case parse_flags(std::string_view what, const std::vector<op::Parameter>& parameters,
                     std::span<const std::string> words);

// Throws Error(kInvalidArgument) for an unknown routine too.
BenchCase parse_case(std::string_view routine, std::span<const std::string> words);

// The words with blanks between them.
std::string joined(std::span<const std::string> words);

// The cases of a suite's text: a line each, "routine --flag value …", with `--num_iters` allowed; empty lines
// and what follows a '#' do not count. Errors name suite and line.
std::vector<BenchCase> parse_suite(std::string_view name, std::string_view text);

}  // namespace strobe::bench
