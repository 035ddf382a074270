// Index arrays at the speed of the cache.
#pragma once

#include <stdint.h>

#include "cpu/isa.h"

// Copies n >= 0 indices and reports the lowest of them and 0, and the highest of them and -1.
STROBE_CPU_KERNEL(void, copy_indices,
                  (const int32_t* from, int32_t* to, int64_t n, int32_t* lowest, int32_t* highest))
