// Sampling of tokens: softmax, filters (top-k, top-p, min-p), and draws from what they keep.
//
// Weights. Every row has integer weights w[j], so that sums are exact and no order of addition, backend or
// number of workers changes a result:
//   from probabilities   w[j] = round(probs[j] * 2^40)
//   from logits          w[j] = round(e[j] * 2^40),  e[j] = exp((logits[j] - max_j(logits[j])) / temperature)
// rounded to nearest, ties to even; e[j] in f32, to 3e-7 of its value, by the arithmetic of
// kernels/sampling/weight.h on every backend. A draw takes the token j with probability w[j] / sum(w) over
// the kept tokens, to 2^-63. Probabilities need not add up to 1.
//
// Filters keep a token or drop it by its value alone: tokens of equal value stay or go together.
//   min_p  keeps values >= min_p * largest value (of the probabilities; of e, from logits)
//   top_k  keeps values >= the k-th largest; with ties at that place more than k stay. 0: all
//   top_p  keeps values >= v, where v is the largest value for which the weights of the values >= v are at
//          least top_p times all weights. 1: all; 0: the largest value
// They apply in this order, each to what the one before has kept; with `joint`, each to the whole row, and
// what all of them keep stays.
//
// Random numbers. Row i of a call takes the 64 bits that Philox 4x32-10 (Salmon et al., 2011) makes of key
// (seed) and counter (offset, row, 0): its first two words, lowest first. `row` is i when the rows share a
// seed, 0 when each has its own, so that a row's token does not depend on its place in the batch. Calls
// under one seed take different offsets. With seeds and offsets in tensors a captured graph draws anew when
// they change.
//
// Bad rows. A row is bad when a probability is NaN, negative or above 2, when a logit is NaN or +Inf, when
// all its weights are 0 (all logits -Inf), when its temperature is NaN or negative, or when its index is out
// of range. Its sample is 0 and its `valid` is false; softmax and renorm_probs fill it with NaN; mask_logits
// copies it. In tensors of parameters, top_k <= 0, top_p >= 1 or NaN and min_p <= 0 or NaN keep everything,
// top_p < 0 is 0 and min_p > 1 is 1.
//
// All throw Error(kInvalidArgument) on shapes, dtypes, strides, overlaps or ranges other than stated, and
// Error(kUnsupported) on a vocabulary of more than 2^22 tokens.
#pragma once

#include <cstdint>

#include "strobe/device.h"
#include "strobe/export.h"
#include "strobe/tensor.h"

namespace strobe::inline v1 {

// Which tokens of a row stay. A tensor, where given, holds the parameter of each row and takes the scalar's
// place.
struct TokenFilter {
  std::int64_t top_k = 0;
  float top_p = 1;
  float min_p = 0;
  bool joint = false;
  TensorView top_k_rows;  // [batch_size], i32
  TensorView top_p_rows;  // [batch_size], f32
  TensorView min_p_rows;  // [batch_size], f32
};

// Where the random numbers of a call come from: 64-bit numbers, as scalars up to 2^53, or in tensors of one
// element for all rows or one for each.
struct RandomNumbers {
  std::int64_t seed = 0;
  std::int64_t offset = 0;
  TensorView seeds;    // [1] or [batch_size], i64
  TensorView offsets;  // [1] or [batch_size], i64
};

struct SoftmaxArgs {
  TensorView logits;  // [batch_size, vocab_size], f32, f16 or bf16; the innermost axis contiguous
  TensorView probs;   // [batch_size, vocab_size], f32
  float temperature = 1;
  TensorView temperature_rows;  // [batch_size], f32; takes the scalar's place
};

// probs[i, j] = e[i, j] / sum_j(e[i, j]). A temperature of 0 is its limit: the largest logits share the row.
STROBE_API void softmax(const SoftmaxArgs& args, const Launch& launch = {});

struct SamplingFromProbsArgs {
  TensorView probs;    // [num_rows, vocab_size], f32, f16 or bf16; the innermost axis contiguous
  TensorView samples;  // [batch_size], i32 or i64: the tokens
  TensorView valid;    // optional [batch_size], bool: whether the row was good
  TensorView indices;  // optional [batch_size], i32: sample i is of row indices[i], else of row i
  TokenFilter filter;
  RandomNumbers random;
};

// samples[i] = a token j that the filter keeps, with probability w[j] / sum(w).
STROBE_API void sampling_from_probs(const SamplingFromProbsArgs& args, const Launch& launch = {});

struct SamplingFromLogitsArgs {
  TensorView logits;   // [num_rows, vocab_size], f32, f16 or bf16; the innermost axis contiguous
  TensorView samples;  // as in SamplingFromProbsArgs
  TensorView valid;
  TensorView indices;
  TokenFilter filter;
  float temperature = 1;        // 0: one of the largest logits
  TensorView temperature_rows;  // [batch_size], f32; takes the scalar's place
  RandomNumbers random;
};

// samples[i] = a token j that the filter keeps, with probability w[j] / sum(w): temperature, softmax, filters
// and the draw in one call.
STROBE_API void sampling_from_logits(const SamplingFromLogitsArgs& args, const Launch& launch = {});

struct RenormProbsArgs {
  TensorView probs;  // [batch_size, vocab_size], f32, f16 or bf16; the innermost axis contiguous
  TensorView out;    // like probs; may be probs itself
  TokenFilter filter;
};

// out[i, j] = probs[i, j] * 2^40 / sum(w) where the filter keeps j, 0 elsewhere.
STROBE_API void renorm_probs(const RenormProbsArgs& args, const Launch& launch = {});

struct MaskLogitsArgs {
  TensorView logits;  // [batch_size, vocab_size], f32, f16 or bf16; the innermost axis contiguous
  TensorView out;     // like logits; may be logits itself
  TokenFilter filter;
  float temperature = 1;        // of the weights that top_p and min_p look at
  TensorView temperature_rows;  // [batch_size], f32; takes the scalar's place
};

// out[i, j] = logits[i, j] where the filter keeps j, -Inf elsewhere.
STROBE_API void mask_logits(const MaskLogitsArgs& args, const Launch& launch = {});

}  // namespace strobe::inline v1
