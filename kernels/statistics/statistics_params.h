// Parameters of strobe_statistics.
#pragma once

#include "tile/dtype.h"
#include "tile/ints.h"

namespace strobe::kernel {

inline constexpr int kStatisticsThreads = 256, kStatisticsAxes = 6;

// Of some elements; low, high and sum are over the finite ones (low > high: there is none).
struct StatisticsPart {
  double low, high, sum;
  int64_t finite, nan, inf;
};

struct StatisticsParams {
  const char* data;
  StatisticsPart* parts;  // one a block
  int64_t elements;
  int64_t shape[kStatisticsAxes], strides[kStatisticsAxes];  // elements; the first `rank` of them
  int32_t rank;
  int32_t element_bytes;
  Dtype dtype;
};

}  // namespace strobe::kernel
