// Attention of f16 and bf16 on tensor cores with a user's hooks; comes after the text. One launch attends,
// and where KV was split a second one merges: it is the same kernel, so that a text is compiled once.
#include "attention/variant_hooks.h"
// The rest builds on the hooks.
#include "attention/prefill_block.h"
#include "attention/variant_merge.h"

namespace strobe::kernel {

static_assert(kChanges || !(Hooks::kQuery || Hooks::kKey),
              "the text must have the names of its hooks query and key as they are, not made by macros");

}  // namespace strobe::kernel

extern "C" __global__ void __launch_bounds__(strobe::kernel::kThreads, strobe::kernel::kLeastBlocks)
    strobe_attention_variant_tiles(const __grid_constant__ strobe::kernel::VariantParams variant) {
  using namespace strobe::kernel;
  extern __shared__ Chunk tiles[];
  __shared__ Shared shared;
  const AttentionParams& params = variant.attention;
  wait_for_kernel_before();
  const auto block = static_cast<int32_t>(blockIdx.x);
  if (params.counts != nullptr && block >= (variant.merges ? params.counts->merges : params.counts->items))
    return;
  if (threadIdx.x == 0) shared.item = params.items[variant.merges ? params.merges[block].item : block];
  __syncthreads();
  Hooks hooks(params, shared.item, variant.arguments);
  if (variant.merges)
    merge_row(params, params.merges[block], hooks);
  else
    attend_item(params, hooks, tiles, shared);
}
