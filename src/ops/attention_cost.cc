#include <algorithm>

#include "ops/attention_declare.h"

namespace strobe::ops {
namespace {

// Sum over i in [0, n) of clamp(first + i, 0, limit).
double sum_clamped(std::int64_t first, std::int64_t n, std::int64_t limit) {
  const std::int64_t rising_begin = std::clamp<std::int64_t>(-first, 0, n);
  const std::int64_t rising_end = std::clamp<std::int64_t>(limit - first, rising_begin, n);
  const double rising = static_cast<double>(rising_end - rising_begin);
  const double low = static_cast<double>(first + rising_begin),
               high = static_cast<double>(first + rising_end - 1);
  return rising * (low + high) / 2 + static_cast<double>(n - rising_end) * static_cast<double>(limit);
}

}  // namespace

double attended_pairs(std::int64_t qo_len, std::int64_t kv_len, const AttentionOptions& options) {
  const std::int64_t shift = kv_len - qo_len;  // position of query token 0
  const double seen = options.mask == MaskMode::kCausal
                          ? sum_clamped(shift + 1, qo_len, kv_len)
                          : static_cast<double>(qo_len) * static_cast<double>(kv_len);
  if (options.window_left < 0) return seen;
  const double before_window = sum_clamped(shift - options.window_left, qo_len, kv_len);
  return std::max(0.0, seen - before_window);
}

std::int64_t attended_kv(std::int64_t qo_len, std::int64_t kv_len, const AttentionOptions& options) {
  if (qo_len == 0) return 0;
  const std::int64_t shift = kv_len - qo_len;
  const std::int64_t begin =
      options.window_left < 0 ? 0 : std::clamp<std::int64_t>(shift - options.window_left, 0, kv_len);
  return kv_len - begin;
}

}  // namespace strobe::ops
