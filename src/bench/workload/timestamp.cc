#include "bench/workload/timestamp.h"

#include <charconv>
#include <chrono>
#include <cmath>

namespace strobe::bench {
namespace {

// Reads one timestamp from left to right. After a mismatch `ok` is false and every further read does nothing.
struct Cursor {
  std::string_view rest;
  bool ok = true;

  int digits(int count) {
    int value = 0;
    for (int i = 0; i < count; ++i) {
      if (!digit_ahead()) ok = false;
      if (!ok) return 0;
      value = value * 10 + (rest.front() - '0');
      rest.remove_prefix(1);
    }
    return value;
  }
  bool digit_ahead() const { return !rest.empty() && rest.front() >= '0' && rest.front() <= '9'; }
  // Takes one character of `choices`; 0 when none is there.
  char take(std::string_view choices) {
    if (!ok || rest.empty() || choices.find(rest.front()) == std::string_view::npos) return 0;
    const char taken = rest.front();
    rest.remove_prefix(1);
    return taken;
  }
  void expect(std::string_view choices) {
    if (take(choices) == 0) ok = false;
  }
};

std::int64_t parse_date(Cursor& cursor) {
  const int year = cursor.digits(4);
  cursor.expect("-");
  const int month = cursor.digits(2);
  cursor.expect("-");
  const int day = cursor.digits(2);
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(month),
                                         std::chrono::day(day)};
  if (!date.ok()) cursor.ok = false;
  if (!cursor.ok) return 0;
  return std::int64_t{86400} * std::chrono::sys_days(date).time_since_epoch().count();
}

int parse_clock(Cursor& cursor) {
  const int hour = cursor.digits(2);
  cursor.expect(":");
  const int minute = cursor.digits(2);
  if (hour > 23 || minute > 59) cursor.ok = false;
  return hour * 3600 + minute * 60;
}

double parse_fraction(Cursor& cursor) {
  if (cursor.take(".") == 0) return 0;
  if (!cursor.digit_ahead()) cursor.ok = false;
  double value = 0;
  double scale = 1;
  while (cursor.digit_ahead() && scale < 1e15) {  // digits beyond a double's are dropped
    value = value * 10 + cursor.digits(1);
    scale *= 10;
  }
  while (cursor.digit_ahead()) cursor.digits(1);
  return value / scale;
}

int parse_offset(Cursor& cursor) {
  if (cursor.take("Zz") != 0) return 0;
  const char sign = cursor.take("+-");
  if (sign == 0) return 0;
  const int offset = parse_clock(cursor);
  return sign == '+' ? offset : -offset;
}

std::optional<Timestamp> parse_date_time(std::string_view text) {
  Cursor cursor{text};
  Timestamp result{.is_date = true};
  result.seconds = parse_date(cursor);
  cursor.expect(" T");
  result.seconds += parse_clock(cursor);
  cursor.expect(":");
  const int second = cursor.digits(2);
  if (second > 59) cursor.ok = false;
  result.fraction = parse_fraction(cursor);
  result.seconds += second - parse_offset(cursor);
  if (!cursor.ok || !cursor.rest.empty()) return std::nullopt;
  return result;
}

std::optional<Timestamp> parse_seconds(std::string_view text) {
  constexpr double kMaxSeconds = 1e15;  // below it a double still tells seconds apart
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (!(value >= 0 && value <= kMaxSeconds)) return std::nullopt;
  return Timestamp{.seconds = static_cast<std::int64_t>(value), .fraction = value - std::floor(value)};
}

}  // namespace

std::optional<Timestamp> parse_timestamp(std::string_view text) {
  const bool is_date = text.find(':') != std::string_view::npos;
  return is_date ? parse_date_time(text) : parse_seconds(text);
}

double seconds_between(const Timestamp& earlier, const Timestamp& later) {
  return static_cast<double>(later.seconds - earlier.seconds) + (later.fraction - earlier.fraction);
}

}  // namespace strobe::bench
