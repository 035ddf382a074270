// The loops that measure the machine's limits, one build per instruction-set level.
#pragma once

#include <cstddef>

#include "cpu/isa.h"

// f32 multiply-adds in independent chains that fill the registers; returns the floating-point operations done
// (2 a lane).
STROBE_CPU_KERNEL(double, limits_multiply_add, (long iterations))

// bf16 dot-product accumulations likewise (4 operations a 32-bit lane); 0 when the level has no such
// instruction.
STROBE_CPU_KERNEL(double, limits_bf16_dot, (long iterations))

// Reads `bytes` from `source`. Both are multiples of kLimitsBlock.
STROBE_CPU_KERNEL(void, limits_read, (const void* source, std::size_t bytes))

// Copies with stores that bypass the caches, where the target has them. All are multiples of kLimitsBlock.
STROBE_CPU_KERNEL(void, limits_copy, (void* target, const void* source, std::size_t bytes))

namespace strobe::cpu {
inline constexpr std::size_t kLimitsBlock = 4096;
}
