// The `strobe` command.
#pragma once

#include <string>
#include <vector>

namespace strobe::cli {

// Exit statuses.
inline constexpr int kOk = 0;
inline constexpr int kFailed = 1;  // a reference check failed, a file could not be read or written, …
inline constexpr int kUsage = 2;   // unknown command, flag or value

inline constexpr int kInterrupted = 130;  // Ctrl-C, as shells say it: what was finished is written

// Runs the command line (without the program's name). Prints results to stdout, errors to stderr as "strobe:
// <message>"; throws nothing.
int run(const std::vector<std::string>& words) noexcept;

}  // namespace strobe::cli
