// The arguments of a batched attention call as one declaration sees them: plan's and run's.
#pragma once

#include <span>

#include "op/operator.h"
#include "strobe/attention.h"

namespace strobe::ops {

struct BatchAttentionArgs {
  AttentionPlanArgs plan;
  AttentionRunArgs run;
  int head_dim_vo() const { return plan.head_dim_vo > 0 ? plan.head_dim_vo : plan.head_dim_qk; }
  bool paged() const { return plan.page_size > 0; }
};

// The declarations (attention.cc).
const op::Operator& single_prefill_operator();
const op::Operator& single_decode_operator();
const op::Operator& batch_attention_operator(bool paged);

// What can be said of a plan whose index arrays are on its device without reading them
// (attention_device_plan.cc). Sets the axes that they give.
void check_device_plan(const op::Operator& op, const AttentionPlanArgs& plan);

// Benchmark routines (attention_routines.cc).
std::vector<op::Routine> single_prefill_routines();
std::vector<op::Routine> single_decode_routines();
std::vector<op::Routine> batch_attention_routines(bool paged);

// KV tokens of each request, from kv_len, last_page_len or kv_indptr. Reads host arrays that have passed
// validation.
void kv_lengths(const AttentionPlanArgs& plan, std::vector<std::int32_t>& lengths);

inline constexpr std::int64_t kMostTokens = 1 << 30;  // of one request; positions are 32-bit

// Axis numbers of batched attention, in the order of its declaration.
namespace attention_axis {
enum {
  kBatchSize,
  kNnzQo,
  kNumPageIndices,
  kMaskBytes,
  kNumQoHeads,
  kNumKvHeads,
  kHeadDimQk,
  kHeadDimVo,
  kPageSize,
  kNumKv,
  kWorkspaceBytes,
  kNumVariantArguments
};
}  // namespace attention_axis

// The elements of an index array of the host; none where it is not given.
inline std::span<const std::int32_t> values(const TensorView& view) {
  return view.given() ? std::span(view.as<const std::int32_t>(), static_cast<std::size_t>(view.shape[0]))
                      : std::span<const std::int32_t>();
}

}  // namespace strobe::ops
