// What can be said of Python text without an interpreter.
#pragma once

#include <string>
#include <string_view>

namespace strobe::trace {

// What Python's tokenizer would refuse: a text that does not end, brackets that do not match; "" when nothing
// of it is found. A syntax error beyond that is found when the text is run.
std::string python_problem(std::string_view text);

// Whether there is a statement "def name(" at the top level: not in a text, in brackets, a class or a branch.
bool defines_function(std::string_view text, std::string_view name);

}  // namespace strobe::trace
