// Weights of attention states by their base-2 log-sum-exp.
#pragma once

#include "merge/merge_params.h"

namespace strobe::kernel {

STROBE_DEVICE float empty_lse() { return __int_as_float(0xff800000); }  // -Inf: a state that holds nothing

// 2^(s - maximum); an empty state weighs nothing, whatever the maximum.
STROBE_DEVICE float weight_of(float s, float maximum) { return s == empty_lse() ? 0.0f : exp2f(s - maximum); }

// The s of the merged state. `total`, the sum of the weights, is 0 when all states are empty, and NaN when
// the s of one is NaN or +Inf.
STROBE_DEVICE float merged_lse(float maximum, float total) {
  return total > 0 ? maximum + log2f(total) : total == 0 ? empty_lse() : total;
}
STROBE_DEVICE float normaliser(float total) { return total == 0 ? 0.0f : 1.0f / total; }

// A row's place in a tensor.
struct RowPlace {
  int64_t token, head;
  STROBE_DEVICE RowPlace(uint32_t row, const Divisor& heads) {
    const uint32_t t = quotient(row, heads);
    token = t;
    head = remainder(row, t, heads);
  }
  STROBE_DEVICE int64_t offset(const int64_t (&stride)[2]) const {
    return token * stride[0] + head * stride[1];
  }
};

}  // namespace strobe::kernel
