// A request of an attention batch, as planners for a GPU take it.
#pragma once

#include "tile/ints.h"

namespace strobe::kernel {

struct AttentionRequest {
  int32_t request;        // its number in the batch
  int32_t q_row, qo_len;  // its rows of q and out; query token i is at position kv_len - qo_len + i
  int32_t kv_base;        // paged: where its pages begin in kv_indices; else its first KV row
  int32_t kv_len;
};

}  // namespace strobe::kernel
