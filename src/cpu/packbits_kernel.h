// Packing of boolean bytes into bits.
#pragma once

#include <stdint.h>

#include "cpu/isa.h"

// Bytes [begin, end) of the packed form of x's first `num_elements` bytes, to y[begin …]; bits beyond the
// last element are 0.
STROBE_CPU_KERNEL(void, packbits_bytes,
                  (const uint8_t* x, int64_t num_elements, uint8_t* y, int64_t begin, int64_t end,
                   bool big_endian))
