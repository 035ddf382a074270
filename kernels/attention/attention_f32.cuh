// Attention in f32 on the CUDA cores: for queries of f32, RoPE on the fly, and operands whose rows are not
// aligned for the other kernels.
#include "attention/builtin_hooks.h"
#include "attention/with_hooks.cuh"

// Three blocks of an SM leave 168 registers, which are enough; left to itself the compiler stops at 128 for
// sm_100.
extern "C" __global__ void __launch_bounds__(strobe::kernel::kThreads, 3)
    strobe_attention_f32(const __grid_constant__ strobe::kernel::AttentionParams params) {
  using namespace strobe::kernel;
  extern __shared__ float shared[];
  wait_for_kernel_before();
  if (params.counts != nullptr && static_cast<int32_t>(blockIdx.x) >= params.counts->items) return;
  AttentionItem item = params.items[blockIdx.x];
  Hooks hooks(params);
  if (params.heads_together == 0) {
    attend_item(params, item, hooks, static_cast<int32_t>(blockIdx.y), shared);
    return;
  }
  const AttentionRun rest = params.runs[blockIdx.x];
  for (int32_t next = rest.begin; item.kv_head >= 0; ++next) {
    for (int32_t head = 0; head < params.heads_together; ++head)
      attend_item(params, item, hooks, item.kv_head + head, shared);
    if (next >= rest.end) return;
    item = params.items[next];
  }
}
