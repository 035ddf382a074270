// Appending to paged caches, and their index arrays, on NVIDIA GPUs.
#pragma once

#include <array>
#include <cstdint>

#include "ops/page_places.h"
#include "strobe/page.h"

namespace strobe::op {

// One of the two caches: tokens [nnz, heads, dim] or [nnz, dim] on their way to pages of which `slot_axis`
// counts the tokens.
struct AppendCudaRows {
  const TensorView &tokens, &cache;
  int slot_axis = 1;
  float scale = 1;
};

void run_append_cuda(const AppendCudaRows& a, const AppendCudaRows& b, const ops::Places& places,
                     const Axes& axes, const Launch& launch);
void run_positions_cuda(const BatchIndicesPositionsArgs& args, const Launch& launch);
void run_seq_lens_cuda(const SeqLensArgs& args, const Launch& launch);

// How the vectors of tokens' rows are shared out.
struct AppendChoice {
  bool pair = false;  // whether a thread does both rows of a token
  std::array<std::int64_t, 2> token_threads{};
  std::int64_t first_blocks = 0, blocks = 0;  // of the first rows; of all
};
AppendChoice choose_append(std::int64_t tokens, const std::array<std::int64_t, 2>& token_vectors,
                           int sm_count);

}  // namespace strobe::op
