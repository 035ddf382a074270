// What the kernels of attention on a GPU are chosen by.
#pragma once

#include <cstdint>

#include "strobe/attention.h"

namespace strobe::op {

// All that a plan knows of its runs but the lengths. Kernels chosen from it alone serve every plan of the
// same shape: `fixed` asks for that, so that a CUDA graph can replay them.
struct AttentionCudaShape {
  Dtype q_dtype, kv_dtype;
  int num_qo_heads, num_kv_heads, head_dim_qk, head_dim_vo;
  int page_size;  // 0: ragged
  MaskMode mask;
  int window_left;  // -1: off
  bool soft_cap, alibi, rope;
  bool deterministic;
  int variant;                // AttentionVariant::id; 0: none
  bool variant_changes_rows;  // it has hooks of queries or keys
  Backend backend;  // kCudaSm90: Hopper's kernel wherever it serves; kAuto: where it is faster; kCudaSm80:
                    // nowhere

  bool fixed;            // the three below are what any plan may have; else what this one has
  int max_batch_size;    // requests
  int max_qo_len;        // query tokens of a request
  int max_query_tokens;  // of all requests

  int group() const { return num_qo_heads / num_kv_heads; }
  friend bool operator==(const AttentionCudaShape&, const AttentionCudaShape&) = default;
};

}  // namespace strobe::op
