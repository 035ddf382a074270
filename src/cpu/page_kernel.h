// Scattering the rows of tokens into pages.
#pragma once

#include <stdint.h>

#include "cpu/isa.h"
#include "strobe/dtype.h"

namespace strobe::cpu {

// `heads` rows of `dim` contiguous elements for each token; strides in elements of their own dtype.
struct PagedRows {
  const void* in;
  void* out;
  int64_t heads, dim;
  int64_t in_token_stride, in_head_stride;
  int64_t page_stride, slot_stride, head_stride;
  Dtype in_dtype, out_dtype;  // equal, or from f32, f16 or bf16 to e4m3 or e5m2
  float factor;               // of values that are converted
};

struct PagedAppend {
  PagedRows rows[2];
  const int32_t* batch_indices;  // a token with a negative one, or a negative position, is skipped
  const int32_t* positions;
  const int32_t* kv_indices;
  const int32_t* kv_indptr;
  int32_t page_size;
  bool stream;  // write past the caches
};

}  // namespace strobe::cpu

STROBE_CPU_KERNEL(void, append_tokens, (const PagedAppend& append, int64_t begin, int64_t end))
