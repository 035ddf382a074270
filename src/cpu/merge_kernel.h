// Row kernels of the merges of attention states.
#pragma once

#include <stdint.h>

#include "cpu/isa.h"
#include "strobe/dtype.h"

namespace strobe::cpu {

// One state of every row: a row of v is `head_dim` contiguous elements, of s one element; `…_stride` elements
// apart.
struct StateRows {
  const void* v;
  const float* s;
  int64_t v_stride, s_stride;
};

// Merges rows of two states, where `mask` is set; the others are left alone.
struct MergePairRows {
  StateRows a, b;
  void* v;
  float* s;
  int64_t v_stride, s_stride;
  const uint8_t* mask;  // one byte for each row, mask_stride apart
  int64_t mask_stride;
  int64_t head_dim;
  Dtype dtype;
};

// Merges num_states states, each `state_…_stride` elements from the one before.
struct MergeStatesRows {
  StateRows first;
  int64_t state_v_stride, state_s_stride;
  int64_t num_states;
  void* v;
  float* s;
  int64_t v_stride, s_stride;
  int64_t head_dim;
  Dtype dtype;
  Dtype out_dtype;  // dtype, or any float where dtype is f32
};

}  // namespace strobe::cpu

STROBE_CPU_KERNEL(void, merge_pair_rows, (const MergePairRows& rows, int64_t begin, int64_t end))
STROBE_CPU_KERNEL(void, merge_states_rows, (const MergeStatesRows& rows, int64_t begin, int64_t end))
