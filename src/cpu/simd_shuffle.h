// Shuffles of several vectors: transposition and column sums of square blocks of 32-bit lanes.
#pragma once

#include "cpu/simd.h"

namespace strobe::cpu::STROBE_ISA {

// For a distance kStep that is a power of two, lane l of merge_low is a[l] where l & kStep is clear and b[l ^
// kStep] where it is set; of merge_high, a[l ^ kStep] and b[l]. The pair transposes 2x2 blocks of lanes at
// that distance.
template <int kStep, class Vector, int... kLane>
STROBE_INLINE Vector merge_low(Vector a, Vector b, LaneList<kLane...>) {
  return __builtin_shufflevector(a, b, ((kLane & kStep) != 0 ? kLanes + (kLane ^ kStep) : kLane)...);
}
template <int kStep, class Vector, int... kLane>
STROBE_INLINE Vector merge_high(Vector a, Vector b, LaneList<kLane...>) {
  return __builtin_shufflevector(a, b, ((kLane & kStep) != 0 ? kLanes + kLane : (kLane ^ kStep))...);
}

template <int kStep>
STROBE_INLINE void transpose_step(U32 (&x)[kLanes]) {
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    if ((i & kStep) != 0) continue;
    const U32 a = x[i], b = x[i + kStep];
    x[i] = merge_low<kStep>(a, b, AllLanes{});
    x[i + kStep] = merge_high<kStep>(a, b, AllLanes{});
  }
}

// Lane j of x[i] and lane i of x[j] change places.
STROBE_INLINE void transpose(U32 (&x)[kLanes]) {
  if constexpr (kLanes > 8) transpose_step<8 % kLanes>(x);
  if constexpr (kLanes > 4) transpose_step<4 % kLanes>(x);
  transpose_step<2>(x);
  transpose_step<1>(x);
}

struct Add {
  STROBE_INLINE F32 apply(F32 a, F32 b) { return a + b; }
};
struct Max {
  STROBE_INLINE F32 apply(F32 a, F32 b) { return max(a, b); }
};

template <class Operation, int kStep>
STROBE_INLINE void reduce_step(F32 (&x)[kLanes]) {
#pragma GCC unroll 8
  for (int i = 0; i < kStep; ++i)
    x[i] = Operation::apply(merge_low<kStep>(x[i], x[i + kStep], AllLanes{}),
                            merge_high<kStep>(x[i], x[i + kStep], AllLanes{}));
}

// Lane i of the result is the sum (or maximum) over the lanes of x[i]: kLanes horizontal reductions for the
// price of about four. Each is made in the same order whatever the other vectors hold. `x` is used up.
template <class Operation>
STROBE_INLINE F32 reduce_each(F32 (&x)[kLanes]) {
  if constexpr (kLanes > 8) reduce_step<Operation, 8 % kLanes>(x);
  if constexpr (kLanes > 4) reduce_step<Operation, 4 % kLanes>(x);
  reduce_step<Operation, 2>(x);
  reduce_step<Operation, 1>(x);
  return x[0];
}

}  // namespace strobe::cpu::STROBE_ISA
