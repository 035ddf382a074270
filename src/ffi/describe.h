// The declarations for other languages.
#pragma once

#include <string>

namespace strobe::ffi {

// Operators in the order of declaration, as one line of JSON: names, axes, dtypes, defaults, ranges,
// formulas.
const std::string& describe_operators();

}  // namespace strobe::ffi
