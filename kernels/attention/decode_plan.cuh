// Plans a decode batch from index arrays on the device: one block makes the list that the host would make of
// the same lengths. The decode kernel reads a plan before it waits for the kernel before it, so this one does
// not let the next begin early, and the host puts the zeroing of the arrivals behind it.
//
// A request whose numbers contradict themselves or the declared capacity gets no work: its rows of the output
// stay as they are. The checking mode names it.
#include "attention/decode_plan.h"
#include "attention/decode_plan_team.cuh"
#include "ptx/dependency.h"

extern "C" __global__ void __launch_bounds__(strobe::kernel::kThreads, 1)
    strobe_attention_decode_plan(const __grid_constant__ strobe::kernel::DecodePlanParams params) {
  using namespace strobe::kernel;
  __shared__ int64_t sums[kWarps];
  BlockTeam team(sums);
  wait_for_kernel_before();
  bool valid;
  for (int32_t r = team.rank(); r < params.requests; r += team.size())
    params.request_list[r] = request_of(params, r, valid);
  team.sync();
  DecodePlan<BlockTeam> plan(team, params.request_list, params.requests, params.options, params.scratch);
  const DecodeListSize size = plan.measure();
  plan.emit(params.list);
  if (team.rank() == 0) *params.counts = {size.items, size.merges};
}
