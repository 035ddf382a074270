#include "jit/report.h"

#include <fmt/format.h>

#include <cstdio>

namespace strobe::jit {

void report_to_stderr(std::string_view message) {
  const std::string line = fmt::format("strobe: {}\n", message);
  std::fwrite(line.data(), 1, line.size(), stderr);
  std::fflush(stderr);
}

}  // namespace strobe::jit
