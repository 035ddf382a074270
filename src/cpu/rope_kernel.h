// Rotation of the heads of tokens.
#pragma once

#include <stdint.h>

#include "cpu/isa.h"
#include "strobe/dtype.h"

namespace strobe::cpu {

// Heads of `head_dim` contiguous elements; strides in elements. `out` is `in` for a rotation in place.
struct RopeHeads {
  const void* in;
  void* out;
  int64_t heads;
  int64_t in_token_stride, in_head_stride;
  int64_t out_token_stride, out_head_stride;
  bool stream;  // write past the caches
};

struct RopeTokens {
  RopeHeads heads[2];  // of q and k

  // The position of token t is position_ids[t] if those are given, else offsets[r] + t - indptr[r] in the
  // request r that holds it.
  const void* position_ids;
  bool wide_position_ids;  // i64, else i32
  const int32_t* indptr;
  const int32_t* offsets;
  int64_t batch_size;

  // Its angles: position * turns[i] / 2^64 turns, or a row of a table of cosines and sines.
  const uint64_t* turns;
  const float* cos_sin_cache;  // null when `turns` is given
  int64_t cos_sin_stride;

  int head_dim, rotary_dim;
  bool interleave;
  Dtype dtype;
};

}  // namespace strobe::cpu

STROBE_CPU_KERNEL(void, rope_tokens, (const RopeTokens& tokens, int64_t begin, int64_t end))
