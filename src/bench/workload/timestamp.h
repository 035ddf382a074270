// The time column of a request trace.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace strobe::bench {

// A point in time; the whole seconds apart, so that differences keep the fraction's digits.
struct Timestamp {
  bool is_date = false;  // seconds since 1970; otherwise since the trace's own zero
  std::int64_t seconds = 0;
  double fraction = 0;  // of a second, in [0, 1)
};

// `YYYY-MM-DD HH:MM:SS[.fraction][Z|±HH:MM]` (blank or T between date and time), or non-negative seconds such
// as `12.5`.
std::optional<Timestamp> parse_timestamp(std::string_view text);

// later - earlier, in seconds; both must have the same `is_date`.
double seconds_between(const Timestamp& earlier, const Timestamp& later);

}  // namespace strobe::bench
