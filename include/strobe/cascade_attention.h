// Attention of requests that share prefixes: the KV of a prefix is read once for all requests that have it.
#pragma once

#include <memory>
#include <span>

#include "strobe/attention.h"
#include "strobe/device.h"
#include "strobe/export.h"
#include "strobe/tensor.h"

namespace strobe::inline v1 {

// The pages of one level. At every level the entries partition the same query rows: at level 0 one entry may
// hold the rows of all requests with one common prefix; at the last level each entry is a request with the KV
// that it shares with nobody.
struct CascadeLevel {
  TensorView qo_indptr;      // i32 [entries + 1]
  TensorView kv_indptr;      // i32 [entries + 1], into kv_indices
  TensorView kv_indices;     // i32 [num_page_indices]
  TensorView last_page_len;  // i32 [entries]
};

// Multi-level cascade attention (Ye et al., Cascade Inference, 2024) over one paged KV cache: attention over
// each level's KV, merged by log-sum-exp. It equals attention over the concatenation of a query's KV over the
// levels, first level first.
//
//   MultiLevelCascadeAttention cascade;
//   cascade.plan(levels, {.num_qo_heads = 32, …, .options = {.mask = MaskMode::kCausal}});
//   cascade.run({.q = q, .k = k_cache, .v = v_cache, .out = out});
//
// `plan` takes shapes, dtypes and options from `common` and index arrays from `levels`. A causal mask holds
// at the last level; all queries see the levels before it whole. A sliding window, a custom mask and position
// encodings on the fly would need positions across levels: Error(kUnsupported). Other errors as those of
// BatchAttention; the level is named.
class STROBE_API MultiLevelCascadeAttention {
 public:
  MultiLevelCascadeAttention();
  ~MultiLevelCascadeAttention();
  MultiLevelCascadeAttention(MultiLevelCascadeAttention&&) noexcept;
  MultiLevelCascadeAttention& operator=(MultiLevelCascadeAttention&&) noexcept;

  void plan(std::span<const CascadeLevel> levels, const AttentionPlanArgs& common, const Launch& launch = {});
  void run(const AttentionRunArgs& args, const Launch& launch = {});

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace strobe::inline v1
