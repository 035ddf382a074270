#include "ops/cuda_rows.h"

#include <bit>

namespace strobe::op {

std::string print_dtype(int value) {
  constexpr std::string_view kNames[kDtypeCount] = {"kF32", "kF16", "kBf16", "kE4m3", "kE5m2",
                                                    "kI8",  "kU8",  "kI32",  "kI64",  "kBool"};
  return fmt::format("{}::{}", kDtypeType, kNames[value]);
}

std::string print_bool(int value) { return value != 0 ? "true" : "false"; }

kernel::Divisor divisor(std::int64_t value) {
  const auto by = static_cast<std::uint32_t>(value);
  if (by <= 1) return {1, 0, 0};
  // 2^(31 + bits) >= 2^31 * value, so that numbers below 2^31 divide exactly.
  const auto bits = static_cast<std::uint32_t>(std::bit_width(by - 1));
  const std::uint64_t power = std::uint64_t{1} << (31 + bits);
  return {by, static_cast<std::uint32_t>((power + by - 1) / by), bits - 1};
}

Gpu gpu_of(Device device) {
  return {device, cuda::architecture_of(device), cuda::device_facts(device).sm_count};
}

}  // namespace strobe::op
