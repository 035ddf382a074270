// Merging attention states: the output v of attention over part of the keys with its base-2 log-sum-exp s.
// The merge of two states is the state over both parts (Ye et al., FlashInfer, 2025; the rescaling is that of
// online softmax).
//
//   m = max_i s_i,  w_i = 2^(s_i - m):   v = sum_i w_i v_i / sum_i w_i,   s = m + log2(sum_i w_i)
//
// computed in f32, v rounded once. A state with s = -Inf is empty: its v is not looked at, whatever it holds;
// if all are empty, v = 0 and s = -Inf. A state with s = +Inf or NaN makes v and s of that token and head
// NaN; NaN or Inf in the v of a state that is not empty reaches the same element of v. All throw
// Error(kInvalidArgument) on shapes, dtypes, strides or overlaps other than stated.
#pragma once

#include "strobe/device.h"
#include "strobe/export.h"
#include "strobe/tensor.h"

namespace strobe::inline v1 {

struct MergeStateArgs {
  TensorView v_a;  // [num_tokens, num_heads, head_dim], f32, f16 or bf16; the innermost axis contiguous
  TensorView s_a;  // [num_tokens, num_heads], f32
  TensorView v_b;  // like v_a
  TensorView s_b;  // like s_a
  TensorView v;    // like v_a; may be v_a or v_b itself
  TensorView s;    // like s_a; may be s_a or s_b itself
};
STROBE_API void merge_state(const MergeStateArgs& args, const Launch& launch = {});

struct MergeStateInPlaceArgs {
  TensorView v;        // [num_tokens, num_heads, head_dim], f32, f16 or bf16; the innermost axis contiguous
  TensorView s;        // [num_tokens, num_heads], f32
  TensorView v_other;  // like v
  TensorView s_other;  // like s
  TensorView mask;     // optional: [num_tokens], bool; tokens where it is false keep their v and s
};
STROBE_API void merge_state_in_place(const MergeStateInPlaceArgs& args, const Launch& launch = {});

struct MergeStatesArgs {
  TensorView
      v;  // [num_tokens, num_states, num_heads, head_dim], f32, f16 or bf16; the innermost axis contiguous
  TensorView s;         // [num_tokens, num_states, num_heads], f32
  TensorView v_merged;  // [num_tokens, num_heads, head_dim], dtype of v; f32, f16 or bf16 where v is f32
  TensorView s_merged;  // [num_tokens, num_heads], f32
};
STROBE_API void merge_states(const MergeStatesArgs& args, const Launch& launch = {});

}  // namespace strobe::inline v1
