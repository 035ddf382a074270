#include "cpu/parallel.h"

#include <algorithm>

#include "cpu/cache_info.h"

namespace strobe::cpu {
namespace {

// A range costs about 10 us at 25 GB/s: long against the microsecond of handing it out, short enough to
// balance.
constexpr std::int64_t kRangeBytes = 256 << 10;

}  // namespace

void parallel_ranges(std::int64_t count, std::int64_t bytes_each,
                     FunctionRef<void(std::int64_t, std::int64_t)> body) {
  const std::int64_t rows = std::max<std::int64_t>(1, kRangeBytes / std::max<std::int64_t>(1, bytes_each));
  const std::int64_t ranges = (count + rows - 1) / rows;
  if (ranges <= 1) {
    if (count > 0) body(0, count);
    return;
  }
  Executor& workers = executor();
  workers.run(static_cast<int>(ranges), workers.max_workers(), [&](int range, int) {
    const std::int64_t begin = range * rows;
    body(begin, std::min(count, begin + rows));
  });
}

bool writes_past_caches(std::int64_t bytes) {
  return bytes > static_cast<std::int64_t>(cache_info().llc / 2);
}

}  // namespace strobe::cpu
