// Cases as they stand on a command line or in a suite: a routine and its flags.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "op/routine.h"

namespace strobe::bench {

struct BenchCase {
  op::NamedRoutine routine;
  op::Case values;
  std::string flags;             // as written: "--num_tokens 64"
  std::optional<int> num_iters;  // of its own, in a suite
  std::string origin;            // "mine.json, line 7", which stands before an error; empty: the command line
};

using Flag = std::pair<std::string, std::string>;  // name without dashes, value

// "--name value", "--name=value" and "--name" (true) words, in order. `what` stands before an error's
// message: Error(kInvalidArgument) for a word that is no flag, and for a repeated one.
std::vector<Flag> split_flags(std::string_view what, std::span<const std::string> words);

// The parameters' values; those that no flag gives keep their defaults. Throws Error(kInvalidArgument) for an
// unknown flag and for a value that the parameter's rule forbids.
op::Case case_values(std::string_view what, const std::vector<op::Parameter>& parameters,
                     std::span<const Flag> flags);

// Throw Error(kInvalidArgument) for an unknown routine too.
BenchCase make_case(std::string_view routine, std::span<const Flag> flags);
BenchCase parse_case(std::string_view routine, std::span<const std::string> words);

// The words with blanks between them.
std::string joined(std::span<const std::string> words);

}  // namespace strobe::bench
