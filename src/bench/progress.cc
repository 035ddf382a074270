#include "bench/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>

namespace strobe::bench {
namespace {

// Columns of the terminal; a longer line would wrap and could not be replaced.
std::size_t columns() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1u : 79u;
}

}  // namespace

bool Progress::on_terminal() { return isatty(STDERR_FILENO) == 1; }

void Progress::show(std::string_view text) {
  if (stop_ && stop_()) throw Stopped{};
  const auto now = std::chrono::steady_clock::now();
  if (!visible_ || (shown_ && now - last_ < std::chrono::milliseconds(100))) return;
  last_ = now;
  shown_ = true;
  fmt::print(stderr, "\r{}\x1b[K", text.substr(0, columns()));
  std::fflush(stderr);
}

void Progress::clear() {
  if (!shown_) return;
  shown_ = false;
  fmt::print(stderr, "\r\x1b[K");
  std::fflush(stderr);
}

}  // namespace strobe::bench
