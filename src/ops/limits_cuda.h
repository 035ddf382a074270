// The kernel that measures what a GPU reads at most.
#pragma once

#include <cstdint>

#include "strobe/device.h"

namespace strobe::op {

// Enqueues `passes` reads of memory that begins at a multiple of 16: `bytes` rounded up to
// read_granularity() of it. `sink` are 4 bytes that it may write.
void launch_read(Device device, Stream stream, const void* data, std::int64_t bytes, int passes, void* sink);
std::int64_t read_granularity();

}  // namespace strobe::op
