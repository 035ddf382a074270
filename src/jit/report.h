// What the JIT says to the user while it works: one line a message, on stderr unless a test listens.
#pragma once

#include <functional>
#include <string_view>

namespace strobe::jit {

using Report = std::function<void(std::string_view message)>;

// Writes "strobe: <message>" to stderr in one call, so that lines of several processes do not mix.
void report_to_stderr(std::string_view message);

}  // namespace strobe::jit
