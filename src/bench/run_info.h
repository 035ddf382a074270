// What a result file says about the run itself.
#pragma once

#include <span>
#include <string>

namespace strobe::bench {

struct RunInfo {
  std::string command;  // "strobe bench --suite quick", quoted for a shell where needed
  std::string date;     // of its start, UTC: "2026-11-20T09:32:17Z"
  std::string commit;   // of the build: "36e7e89", with "+" after it when files were changed; or "unknown"
};

// Of a run that starts now; `words` are those of the command line after "strobe".
RunInfo this_run(std::span<const std::string> words);

// A word as a POSIX shell reads it back.
std::string shell_quoted(const std::string& word);

}  // namespace strobe::bench
