// The parameters of a row, and what is known of its values.
#pragma once

#include "sampling/columns.cuh"

namespace strobe::kernel {

template <class T>
STROBE_DEVICE T at_row(const RowParameter<T>& parameter, int row) {
  return parameter.rows != nullptr ? parameter.rows[row] : parameter.value;
}
STROBE_DEVICE uint64_t at_row(const RowNumber& number, int row) {
  return static_cast<uint64_t>(number.numbers != nullptr ? number.numbers[number.per_row ? row : 0]
                                                         : number.value);
}

struct Row {
  int top_k;  // 0: all
  float top_p, min_p;
  bool joint;
  float factor;  // of logits: log2(e) / temperature
  float largest;
  float least;  // of the values that min_p keeps
  float threshold;

  STROBE_DEVICE void begin(const SamplingParams& params, int row) {
    const int k = at_row(params.top_k, row);
    const float p = at_row(params.top_p, row), min = at_row(params.min_p, row);
    top_k = k > 0 && k < params.cut.vocab_size ? k : 0;
    top_p = p < 1 ? fmaxf(p, 0.0f) : 1.0f;
    min_p = min > 0 ? fminf(min, 1.0f) : 0.0f;
    joint = params.joint != 0;
    factor = kLogits ? factor_of(at_row(params.temperature, row)) : 0.0f;
    threshold = -infinity();
    set_largest(0);
  }

  STROBE_DEVICE void set_largest(float x) {
    largest = x;
    least = kLogits ? min_p : min_p * x;
  }

  // A probability, or one in proportion.
  STROBE_DEVICE float value(float x) const {
    if constexpr (kLogits)
      return exponential(x, largest, factor);
    else
      return x;
  }
  STROBE_DEVICE uint64_t weight(float x) const { return weight_of(value(x)); }
  STROBE_DEVICE bool reaches_least(float x) const { return least == 0 || value(x) >= least; }
  STROBE_DEVICE bool keeps(float x) const { return x >= threshold && reaches_least(x); }
};

// Tokens of low < value < high. floor: what lies at `low` or below it is nothing or weighs nothing.
struct Window {
  float low = kLogits ? -infinity() : 0.0f, high = infinity();
  bool floor = true;
};

STROBE_DEVICE bool bad(float x) { return kLogits ? bad_logit(x) : bad_prob(x); }

// Unsigned numbers in the order of the values, and back.
STROBE_DEVICE uint32_t key_of(float x) { return kLogits ? key_of_logit(x) : key_of_prob(x); }
STROBE_DEVICE float value_of_key(uint32_t key) { return kLogits ? logit_of_key(key) : float_at(key); }

}  // namespace strobe::kernel
