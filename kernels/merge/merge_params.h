// Parameters of strobe_merge_pair and strobe_merge_states.
#pragma once

#include "tile/divisor.h"
#include "tile/ints.h"

namespace strobe::kernel {

// States of all tokens and heads; strides are bytes, [token, head].
struct StateRows {
  char* v;
  char* s;
  int64_t v_stride[2], s_stride[2];
};

// Row r is head r % heads of token r / heads.
struct MergePairParams {
  StateRows a, b, out;
  const unsigned char* mask;  // of tokens; null: all of them
  int64_t mask_stride;
  uint32_t rows;
  Divisor heads;
  Divisor row_vectors;    // at least 1
  uint32_t head_vectors;  // 0: heads have no elements, and only s is merged
  uint32_t block_rows;
};

struct MergeStatesParams {
  StateRows first, out;  // the first state of each row
  int64_t state_v_stride, state_s_stride;
  int32_t num_states;
  uint32_t rows;
  Divisor heads;
  Divisor row_vectors;    // at least 1
  uint32_t head_vectors;  // 0: heads have no elements, and only s is merged
};

}  // namespace strobe::kernel
