// Parameters of strobe_rope.
#pragma once

#include "tile/divisor.h"
#include "tile/ints.h"

namespace strobe::kernel {

// Heads of all tokens; strides are bytes.
struct RopeHeads {
  const char* in;
  char* out;
  int64_t in_token_stride, in_head_stride, out_token_stride, out_head_stride;
};

// kPairs: entries of `turns`.
template <int kPairs>
struct RopeParams {
  RopeHeads q, k;
  // Position of a token: offsets[r] + token - indptr[r] for the request r that it belongs to, or
  // positions[token].
  const int32_t *indptr, *offsets;
  const void* positions;
  const float* cos_sin_cache;
  int64_t cos_sin_stride, max_position;  // elements; rows
  uint32_t tokens;
  int32_t batch_size, num_qo_heads, num_heads;  // num_heads: of q and k together
  int32_t head_dim, rotary_dim;

  // A token's work: `columns` pairs of vectors of a head, the first `rotary_columns` of which turn; each
  // thread does one of them in kItems heads, `head_groups` apart.
  int32_t rotary_columns, head_groups;
  Divisor columns;
  Divisor slots;          // columns * head_groups
  uint32_t block_tokens;  // tokens of a block
  Divisor pairs;          // rotary_dim / 2

  bool prefetches;  // all blocks run at once: they bring their heads to L2 while the kernel before ends

  uint64_t turns[kPairs];  // of pair i from one position to the next: turns / 2^64
};

}  // namespace strobe::kernel
