// Where log records go. A record is on its way to the operating system (written and flushed) when `write`
// returns, so that a crash of the call that it announces cannot lose it.
#pragma once

#include <atomic>
#include <string_view>

namespace strobe::log {

namespace detail {
extern std::atomic<int> level;  // -1 until STROBE_LOGLEVEL has been read
int read_level();
}  // namespace detail

// STROBE_LOGLEVEL; one predictable branch when the log is off.
inline int level() {
  const int value = detail::level.load(std::memory_order_relaxed);
  return value >= 0 ? value : detail::read_level();
}

// Writes to STROBE_LOGDEST. Throws Error(kIo) at the first record when the file cannot be opened.
void write(std::string_view record);

// Replaces level and destination (as STROBE_LOGLEVEL and STROBE_LOGDEST would give them); for tests.
void configure(int level, std::string_view destination);

}  // namespace strobe::log
