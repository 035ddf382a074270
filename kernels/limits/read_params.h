// Parameters of strobe_limits_read.
#pragma once

#include "tile/ints.h"

namespace strobe::kernel {

inline constexpr int kReadThreads = 512, kReadLoads = 8;
inline constexpr int kReadTileBytes = kReadThreads * kReadLoads * 16;

struct ReadParams {
  const char* data;  // a multiple of 16
  uint32_t* sink;
  int64_t tiles;  // of kReadTileBytes
  int32_t passes;
};

}  // namespace strobe::kernel
