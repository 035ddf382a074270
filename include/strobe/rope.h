// Rotary position embedding (Su et al., RoFormer, 2021) of queries and keys.
//
// Pair i of a head's first rotary_dim elements turns by angle(position, i):
//
//   out[a] = x[a] cos - x[b] sin        interleave = false:  a = i,   b = i + rotary_dim / 2
//   out[b] = x[b] cos + x[a] sin        interleave = true:   a = 2 i, b = 2 i + 1
//
// The elements from rotary_dim on are copied. Positions are whole numbers; negative ones turn the other way.
// Angles are exact to about 1e-7 at any position: they are reduced in fixed point, not in f32. Products and
// sums are f32, rounded once to the output's dtype.
//
// NaN or Inf in an element reaches the elements of its own pair, by IEEE arithmetic, and no other.
//
// All tensors have a contiguous innermost axis and any other strides, such as slices of a fused qkv
// projection. An output may be its input itself (in place), and must otherwise keep apart from the inputs.
// Every function throws Error(kInvalidArgument) on shapes, dtypes, strides, index values or attributes other
// than stated; index values on a GPU are not checked, and a token whose position is not in the table becomes
// NaN there.
#pragma once

#include <vector>

#include "strobe/device.h"
#include "strobe/export.h"
#include "strobe/tensor.h"

namespace strobe::inline v1 {

inline constexpr int kMaxRotaryDim = 512;

// angle(position, i) = position * frequency(i), where frequency(i) = theta^(-2 i / rotary_dim) / scale.
//
// With llama31 (Meta's rule for contexts longer than those of the first training) high frequencies keep their
// value and only low ones are divided by scale. With f = theta^(-2 i / rotary_dim), which makes
// old_context_len * f / 2 pi turns in the old context:
//   smooth       = clamp((old_context_len * f / (2 pi) - low_freq_factor) / (high_freq_factor -
//   low_freq_factor), 0, 1) frequency(i) = smooth * f + (1 - smooth) * f / scale
struct RopeScaling {
  float scale = 1;     // rope_scale, positive
  float theta = 1e4f;  // rope_theta, at least 1
  bool llama31 = false;
  float low_freq_factor = 1;
  float high_freq_factor = 4;  // greater than low_freq_factor
  int old_context_len = 8192;

  friend bool operator==(const RopeScaling&, const RopeScaling&) = default;
};

// What the Llama 3.1 models use.
inline constexpr RopeScaling kLlama31RopeScaling = {.scale = 8, .theta = 5e5f, .llama31 = true};

// frequency(i) for i < rotary_dim / 2, computed in f64. As f32 they leave an angle at position p uncertain by
// about 3e-8 p. Throws Error(kInvalidArgument) when rotary_dim is odd, negative or over kMaxRotaryDim.
STROBE_API std::vector<float> rope_inv_freq(int rotary_dim, const RopeScaling& scaling);

// Token t of request r, that is indptr[r] <= t < indptr[r + 1], has position offsets[r] + t - indptr[r].
struct RopeArgs {
  TensorView q;        // [nnz, num_qo_heads, head_dim], f32, f16 or bf16
  TensorView k;        // [nnz, num_kv_heads, head_dim], dtype of q
  TensorView indptr;   // i32 [batch_size + 1], from 0 to nnz, not decreasing
  TensorView offsets;  // i32 [batch_size], position of each request's first token
  TensorView q_out;    // like q; may be q itself
  TensorView k_out;    // like k; may be k itself
  int rotary_dim = 0;  // even, at most head_dim and kMaxRotaryDim; 0: head_dim
  bool interleave = false;
  RopeScaling scaling;
};
STROBE_API void apply_rope(const RopeArgs& args, const Launch& launch = {});

// Token t has position pos_ids[t].
struct RopePosIdsArgs {
  TensorView q;        // [nnz, num_qo_heads, head_dim], f32, f16 or bf16
  TensorView k;        // [nnz, num_kv_heads, head_dim], dtype of q
  TensorView pos_ids;  // i32 or i64 [nnz]
  TensorView q_out;    // like q; may be q itself
  TensorView k_out;    // like k; may be k itself
  int rotary_dim = 0;  // even, at most head_dim and kMaxRotaryDim; 0: head_dim
  bool interleave = false;
  RopeScaling scaling;
};
STROBE_API void apply_rope_pos_ids(const RopePosIdsArgs& args, const Launch& launch = {});

// Token t turns by the cosines and sines in row positions[t] of a table: rotary_dim / 2 cosines, then as many
// sines.
struct RopeCosSinCacheArgs {
  TensorView q;              // [nnz, num_qo_heads, head_dim], f32, f16 or bf16
  TensorView k;              // [nnz, num_kv_heads, head_dim], dtype of q
  TensorView positions;      // i32 or i64 [nnz], from 0 to max_position - 1
  TensorView cos_sin_cache;  // f32 [max_position, rotary_dim]
  TensorView q_out;          // like q; may be q itself
  TensorView k_out;          // like k; may be k itself
  bool interleave = false;   // elsewhere called not is_neox
};
STROBE_API void apply_rope_with_cos_sin_cache(const RopeCosSinCacheArgs& args, const Launch& launch = {});

}  // namespace strobe::inline v1
