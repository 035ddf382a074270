// Parameters of strobe_append and of the index kernels of paged caches.
#pragma once

#include "tile/divisor.h"
#include "tile/ints.h"

namespace strobe::kernel {

// The rows of tokens (keys, say) on their way to their cache; strides are bytes.
struct AppendRows {
  const char* in;
  char* out;
  int64_t in_token_stride, in_head_stride, page_stride, slot_stride, head_stride;
  float factor;         // 1 / scale of a converted row
  Divisor row_vectors;  // vectors of one head
  uint32_t vectors;     // of a token
  Divisor threads;      // of a token
};

struct AppendParams {
  AppendRows rows[2];
  const int32_t *batch_indices, *positions, *kv_indices, *kv_indptr;
  uint32_t tokens;
  int32_t batch_size, num_pages, num_kv_indices;
  Divisor page_size;
  uint32_t first_blocks;  // that do rows[0], where threads do not do both; the others do rows[1]
};

struct PositionsParams {
  const int32_t *append_indptr, *seq_lens;
  int32_t *batch_indices, *positions;
  int32_t batch_size, tokens;
};

struct SeqLensParams {
  const int32_t *kv_indptr, *kv_last_page_len;
  int32_t* seq_lens;
  int32_t batch_size, page_size;
};

}  // namespace strobe::kernel
