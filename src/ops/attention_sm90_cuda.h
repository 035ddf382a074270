// The prefill kernel of Hopper (backend cuda/sm90): what it serves, its work list, its launch.
#pragma once

#include "attention/sm90/prefill_sm90_params.h"
#include "ops/attention_cuda_shape.h"
#include "ops/cuda_rows.h"
#include "plan/device_work_list.h"

namespace strobe::op {

// Whether the kernel computes such attention at all.
bool serves_sm90(const AttentionCudaShape& shape);

// Whether it is the faster one for requests of so many query tokens: by shape and query length alone, so that
// a request's neighbours do not change its bits.
bool prefers_sm90(const AttentionCudaShape& shape, int qo_len);

plan::WorkListOptions sm90_list_options(const AttentionCudaShape& shape, const Gpu& gpu);

// Orders a list made with these options for the cache, and says the rest that the device wants to know of it.
kernel::Sm90List order_sm90_list(const AttentionCudaShape& shape, plan::DeviceWorkList& list,
                                 std::vector<kernel::AttentionItem>& scratch);

// Extents of the tensors of a run, which AttentionParams leaves out.
struct AttentionExtents {
  std::int64_t q_rows;
  std::int64_t kv_rows;  // or pages
};

// Whether tensor copies can express the operands: addresses and strides are multiples of 16 bytes, and out
// has q's dtype, or any where that is e4m3.
bool expresses_sm90(const AttentionCudaShape& shape, const kernel::AttentionParams& params,
                    const AttentionExtents& extents);

// `items`: of the list on the device, or the most that there may be. The operands are such that
// expresses_sm90.
void launch_sm90(const AttentionCudaShape& shape, const kernel::AttentionParams& params,
                 const AttentionExtents& extents, kernel::Sm90List* list, std::int64_t items, const Gpu& gpu,
                 const Launch& launch);

}  // namespace strobe::op
