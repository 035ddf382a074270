// Looks for requests whose numbers contradict each other or the capacity, and for page numbers that the cache
// does not have: what a plan made on the device takes without an error. One block, for the checking mode
// only.
#include "attention/decode_plan_team.cuh"
#include "ptx/dependency.h"

namespace strobe::kernel {

STROBE_DEVICE IndexFault fault_of(const DecodeCheckParams& p, BlockTeam& team, int32_t r) {
  bool valid;
  const AttentionRequest request = request_of(p.plan, r, valid);
  if (!valid) return {IndexFault::kContradiction, r, 0, 0};
  if (p.plan.page_size == 0 || request.qo_len == 0) return {IndexFault::kNone, r, 0, 0};
  const int32_t pages = (request.kv_len + p.plan.page_size - 1) / p.plan.page_size;
  int32_t first = pages;
  for (int32_t entry = team.rank(); entry < pages && first == pages; entry += team.size()) {
    const int32_t page = p.kv_indices[request.kv_base + entry];
    if (page < 0 || page >= p.num_pages) first = entry;
  }
  first = -static_cast<int32_t>(team.most(-static_cast<int64_t>(first)));
  if (first == pages) return {IndexFault::kNone, r, 0, 0};
  return {IndexFault::kPage, r, first, p.kv_indices[request.kv_base + first]};
}

}  // namespace strobe::kernel

extern "C" __global__ void __launch_bounds__(strobe::kernel::kThreads)
    strobe_attention_decode_check(const __grid_constant__ strobe::kernel::DecodeCheckParams params) {
  using namespace strobe::kernel;
  __shared__ int64_t sums[kWarps];
  BlockTeam team(sums);
  wait_for_kernel_before();
  IndexFault fault{IndexFault::kNone, 0, 0, 0};
#pragma unroll 1
  for (int32_t r = 0; r < params.plan.requests && fault.kind == IndexFault::kNone; ++r)
    fault = fault_of(params, team, r);
  if (team.rank() == 0) *params.fault = fault;
}
