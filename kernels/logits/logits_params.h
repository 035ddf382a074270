// Parameters of process_logits.cuh.
#pragma once

#include "tile/divisor.h"
#include "tile/ints.h"

namespace strobe::kernel {

// Rows of 32-bit words, `stride` words apart, and which of them a row of logits has.
struct StateRows {
  const int32_t* data;  // null: there are none
  int64_t stride;
  const int32_t* indices;  // null: row i has i
  int32_t rows;
};

// A parameter of each row, or one for all.
struct PenaltyParameter {
  const float* rows;  // null: `value` holds for all
  float value;
};

struct ProcessLogitsParams {
  const char* input;
  char* out;
  int64_t input_stride, out_stride;  // bytes
  uint32_t vectors;                  // of all rows
  Divisor row_vectors;
  StateRows counts, prompt_mask, bitmask;
  PenaltyParameter repetition, frequency, presence;
};

}  // namespace strobe::kernel
