#include "bench/report/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace strobe::bench::report {
namespace {

constexpr const char* kNarrowSpace = "\u202f";

std::string with_unit(double value, const char* unit) { return significant(value) + "\u00a0" + unit; }

}  // namespace

std::string significant(double value, int digits) {
  if (value == 0) return "0";
  const int exponent = static_cast<int>(std::floor(std::log10(std::abs(value)) + 1e-9));
  return fmt::format("{:.{}f}", value, std::clamp(digits - 1 - exponent, 0, 9));
}

std::string grouped(double value) {
  std::string text = fmt::format("{:.0f}", value);
  const int first = text.starts_with('-') ? 1 : 0;
  for (int place = static_cast<int>(text.size()) - 3; place > first; place -= 3)
    text.insert(static_cast<std::size_t>(place), kNarrowSpace);
  return text;
}

std::string milliseconds(double ms) {
  if (ms < 0.9995) return with_unit(ms * 1e3, "\u00b5s");
  return ms < 999.5 ? with_unit(ms, "ms") : with_unit(ms * 1e-3, "s");
}

std::string gigabytes_per_second(double gbs) {
  return gbs < 999.5 ? with_unit(gbs, "GB/s") : with_unit(gbs * 1e-3, "TB/s");
}

std::string gigaflops(double gflops) {
  return gflops < 999.5 ? with_unit(gflops, "GFLOP/s") : with_unit(gflops * 1e-3, "TFLOP/s");
}

std::string percent(double fraction) { return fmt::format("{:.0f}\u00a0%", fraction * 100); }

std::string signed_percent(double fraction) {
  const double tenths = std::round(fraction * 1000);
  const char* sign = tenths < 0 ? "\u2212" : tenths > 0 ? "+" : "";
  return fmt::format("{}{:.1f}\u00a0%", sign, std::abs(tenths) / 10);
}

}  // namespace strobe::bench::report
