// Attention with a user's hooks on the CUDA cores; comes after the text. One launch attends, and where KV was
// split a second one merges: it is the same kernel, so that a text is compiled once.
#include "attention/variant_hooks.h"
#include "attention/variant_params.h"
#include "attention/with_hooks.cuh"
// The rest builds on these.
#include "attention/variant_merge.h"

extern "C" __global__ void __launch_bounds__(strobe::kernel::kThreads)
    strobe_attention_variant(const __grid_constant__ strobe::kernel::VariantParams variant) {
  using namespace strobe::kernel;
  extern __shared__ float shared[];
  const AttentionParams& params = variant.attention;
  wait_for_kernel_before();
  const auto block = static_cast<int32_t>(blockIdx.x);
  if (params.counts != nullptr && block >= (variant.merges ? params.counts->merges : params.counts->items))
    return;
  const AttentionItem item = params.items[variant.merges ? params.merges[block].item : block];
  Hooks hooks(params, item, variant.arguments);
  if (variant.merges)
    merge_row(params, params.merges[block], hooks);
  else
    attend_item(params, item, hooks, static_cast<int32_t>(blockIdx.y), shared);
}
