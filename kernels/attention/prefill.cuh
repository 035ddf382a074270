// Attention of f16 and bf16 on tensor cores, with what the library itself does to logits; prefill_block.h has
// the note.
#include "attention/prefill_hooks.h"
// The rest builds on the hooks.
#include "attention/prefill_block.h"

extern "C" __global__ void __launch_bounds__(strobe::kernel::kThreads, strobe::kernel::kLeastBlocks)
    strobe_attention_prefill(const __grid_constant__ strobe::kernel::AttentionParams params) {
  using namespace strobe::kernel;
  extern __shared__ Chunk tiles[];
  __shared__ Shared shared;
  wait_for_kernel_before();
  if (params.counts != nullptr && static_cast<int32_t>(blockIdx.x) >= params.counts->items) return;
  if (threadIdx.x == 0) shared.item = params.items[blockIdx.x];
  __syncthreads();
  Hooks hooks(params, shared.item);
  attend_item(params, hooks, tiles, shared);
}
