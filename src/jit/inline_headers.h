// A source with the library's device headers written out in it, for compilers that are given one file.
#pragma once

#include <string>
#include <string_view>

namespace strobe::jit {

// Every #include "…" of an embedded header becomes its text, the first time; #line directives keep the names
// and numbers of diagnostics. Other lines stay.
std::string inline_headers(std::string_view source, std::string_view name);

}  // namespace strobe::jit
