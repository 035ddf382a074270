// Rotary position embedding on NVIDIA GPUs.
#pragma once

#include <cstdint>

#include "strobe/rope.h"

namespace strobe::op {

// The operands that the three forms share, and where positions or angles come from: offsets with indptr, or
// positions; a table, or the scaling.
struct RopeCudaArgs {
  const TensorView &q, &k, &q_out, &k_out;
  const TensorView *indptr = nullptr, *offsets = nullptr, *positions = nullptr, *cos_sin_cache = nullptr;
  int rotary_dim = 0;
  bool interleave = false;
  const RopeScaling* scaling = nullptr;
};

void run_rope_cuda(const RopeCudaArgs& args, const Launch& launch);

// How the heads of a token are shared out; kernels/rope/rope.cuh says what a column is.
struct RopeChoice {
  int vector = 1, items = 1;
  int rotary_columns = 0, columns = 0, head_groups = 0;
  int block_tokens = 1;
  std::int64_t blocks = 0;
};

struct RopeShape {
  std::int64_t tokens = 0, heads = 0;  // heads: of q and k together
  int head_dim = 0, rotary_dim = 0;
  int vector = 1;          // elements that an access may have; divides rotary_dim / 2 and the rest of a head
  bool table = false;      // cosines and sines come from one
  bool copy_rest = false;  // elements from rotary_dim on are copied
};

RopeChoice choose_rope(const RopeShape& shape, int sm_count);

}  // namespace strobe::op
