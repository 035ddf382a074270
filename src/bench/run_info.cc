#include "bench/run_info.h"

#include <fmt/chrono.h>

#include <algorithm>
#include <chrono>

#include "bench/build_commit.h"

namespace strobe::bench {

std::string shell_quoted(const std::string& word) {
  constexpr std::string_view kPlain = "-_=.,:/+@%";
  const auto plain = [&](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || kPlain.find(c) != std::string_view::npos;
  };
  if (!word.empty() && std::all_of(word.begin(), word.end(), plain)) return word;
  std::string quoted = "'";
  for (char c : word) quoted += c == '\'' ? "'\\''" : std::string(1, c);
  return quoted + "'";
}

RunInfo this_run(std::span<const std::string> words) {
  RunInfo info{.command = "strobe", .date = {}, .commit = kBuildCommit};
  for (const std::string& word : words) info.command += " " + shell_quoted(word);
  const auto now = std::chrono::time_point_cast<std::chrono::seconds>(std::chrono::system_clock::now());
  info.date = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::chrono::system_clock::to_time_t(now)));
  return info;
}

}  // namespace strobe::bench
