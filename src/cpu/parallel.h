// Splits independent rows over the executor's workers.
#pragma once

#include <cstdint>

#include "strobe/threads.h"

namespace strobe::cpu {

// Calls body(begin, end) for ranges that together cover [0, count), concurrently. `bytes_each` is the memory
// traffic of one row: work too small to share runs on the calling thread.
void parallel_ranges(std::int64_t count, std::int64_t bytes_each,
                     FunctionRef<void(std::int64_t begin, std::int64_t end)> body);

// Whether a call that writes this many bytes should bypass the caches: what it writes would push everything
// else out, and most of it itself, before anybody reads it.
bool writes_past_caches(std::int64_t bytes);

}  // namespace strobe::cpu
