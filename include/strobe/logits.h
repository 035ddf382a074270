// What an engine does to logits before it samples: penalties of tokens that a request has seen, and grammars.
#pragma once

#include "strobe/device.h"
#include "strobe/export.h"
#include "strobe/tensor.h"

namespace strobe::inline v1 {

// Bit masks are of 32-bit words: token j is bit j % 32 of word j / 32, the lowest first, and num_words is at
// least vocab_size / 32, rounded up. Counts and masks lie in rows that stay in their place while requests
// come and go; an index for each row of logits says which is its, and below 0 that it has none.
//
// A row of logits that asks for a row which is not there becomes NaN, which samplers report as not valid. NaN
// in a logit stays, but for tokens that are not allowed. Both throw Error(kInvalidArgument) on shapes,
// dtypes, strides, overlaps or ranges other than stated.

struct TokenBitmaskArgs {
  TensorView logits;           // [batch_size, vocab_size], f32, f16 or bf16; the innermost axis contiguous
  TensorView out;              // like logits; may be logits itself
  TensorView bitmask;          // [num_masks, num_words], i32: bits of the tokens that are allowed
  TensorView bitmask_indices;  // optional [batch_size], i32: the mask of each row; else row i has mask i
};

// out[i, j] = logits[i, j] where bit j of row i's mask is set, -Inf elsewhere.
STROBE_API void apply_token_bitmask(const TokenBitmaskArgs& args, const Launch& launch = {});

struct PenaltiesArgs {
  TensorView logits;       // [batch_size, vocab_size], f32, f16 or bf16; the innermost axis contiguous
  TensorView out;          // like logits; may be logits itself
  TensorView counts;       // [num_slots, vocab_size], i32: how often a request has generated a token
  TensorView prompt_mask;  // optional [num_slots, num_words], i32: bits of the tokens in its prompt
  TensorView slots;        // optional [batch_size], i32: the slot of each row; else row i has slot i
  float repetition_penalty = 1;
  float frequency_penalty = 0;
  float presence_penalty = 0;
  TensorView repetition_penalty_rows;  // [batch_size], f32; where given they take the scalars' place
  TensorView frequency_penalty_rows;   // [batch_size], f32
  TensorView presence_penalty_rows;    // [batch_size], f32
  TensorView bitmask;                  // optional: as apply_token_bitmask, behind the penalties
  TensorView bitmask_indices;
};

// out[i, j] is, of x = logits[i, j], c = counts[slot of i, j] and in this order
//   x / repetition_penalty where x > 0, x * repetition_penalty elsewhere,
//                              when c > 0 or token j is in the prompt     (Keskar et al., CTRL, 2019)
//   x - frequency_penalty * c, when c > 0
//   x - presence_penalty,      when c > 0
//   -Inf,                      when the row's mask does not allow token j
// computed in f32 and rounded once. A row whose repetition penalty is not above 0, or of whose penalties one
// is NaN, becomes NaN.
STROBE_API void apply_penalties(const PenaltiesArgs& args, const Launch& launch = {});

}  // namespace strobe::inline v1
