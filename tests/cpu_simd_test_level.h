// What cpu_simd_test.cc exercises of cpu/simd.h, compiled once per ISA level (cpu_simd_test_level.cc).
#pragma once

#include <cstddef>

#include "cpu/isa.h"
#include "strobe/dtype.h"

namespace strobe::cpu {
enum class SimdFunction {
  kExp2,
  kExp2For16Bits,
  kLog2,
  kTanh,
  kErfcOfPositive,
  kErf,
  kNormalTailFor16Bits,
  kSqrt,
  kRsqrt,
  kRoundEven
};
// kRow: by the steps of a walk along a row.
enum class SimdStore { kFull, kStream, kRow };
}  // namespace strobe::cpu

// Lanes of an F32.
STROBE_CPU_KERNEL(int, simd_test_lanes, ())
// `count` elements by full vectors; count is a multiple of 32.
// `row`: by the steps of a walk along a row.
STROBE_CPU_KERNEL(void, simd_test_load, (Dtype dtype, bool row, const void* in, float* out, size_t count))
STROBE_CPU_KERNEL(void, simd_test_store,
                  (Dtype dtype, SimdStore how, const float* in, void* out, size_t count))
// One vector's first n elements; `lanes` receives all lanes of the load.
STROBE_CPU_KERNEL(void, simd_test_load_n, (Dtype dtype, const void* in, float* lanes, int n))
STROBE_CPU_KERNEL(void, simd_test_store_n, (Dtype dtype, const float* in, void* out, int n))
STROBE_CPU_KERNEL(void, simd_test_map, (SimdFunction function, const float* in, float* out, size_t count))
// One vector each: min(a, b), max(a, b), select(a < b, a, b) into three consecutive vectors of out.
STROBE_CPU_KERNEL(void, simd_test_compare, (const float* a, const float* b, float* out))
// The sum and the maximum of one vector; whether any lane is > 0.
STROBE_CPU_KERNEL(void, simd_test_reduce, (const float* in, float* sum, float* maximum, bool* positive))
