// Appending to paged caches, and their index arrays, on NVIDIA GPUs.
#pragma once

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
  int token_threads = 1;
  std::int64_t blocks = 0;
};
AppendChoice choose_append(std::int64_t tokens, std::int64_t token_vectors, int items);

}  // namespace strobe::op
