// Attention of many query rows on Hopper (sm_90a), by wgmma and tensor copies: ragged or paged KV, causal or
// not, sliding windows, sinks.
//
// Constants: Dtype kType; int kDimQk, kDimVo; bool kPaged.
#include "attention/sm90/load.cuh"
#include "attention/sm90/math_group.cuh"
#include "attention/sm90/output.cuh"
#include "attention/sm90/watch.cuh"
#include "ptx/dependency.h"
#include "ptx/register_budget.h"

namespace strobe::kernel {

constexpr int kThreads = (kGroups + 1) * kGroupThreads;

STROBE_DEVICE void calculate(const AttentionSm90Params& params, char* shared, const Barriers& barriers,
                             int32_t group) {
  const int32_t thread = static_cast<int32_t>(threadIdx.x) % kGroupThreads, lane = thread % kWarpLanes;
  const SharedAddress base = barriers.base;
  MathGroup math{.params = params,
                 .shared = shared,
                 .base = base,
                 .barriers = barriers,
                 .group = group,
                 .row = thread / kWarpLanes * 16 + lane / 4,
                 .lane = lane,
                 .keys = place_along_k(base + kKeysAt, kKeyLayout.eight_rows),
                 .values = place_across_k(base + kValuesAt, kValueLayout.panel, kValueLayout.eight_rows),
                 .query = {}};
  Scores s;
  int32_t stored_slot = -1;
  bool real = math.wait_for_tile(math.tile());
  if (!real) return;
  math.issue_first_q_k(s, true);
#pragma unroll 1
  while (real) {
    Outputs out;
    Weights weights;
    RowStates state;
    float rescale[2];
#pragma unroll
    for (int i = 0; i < kOutputs; ++i) out[i] = 0.0f;
    int32_t block = math.tile().last;
    wait_for_products<0>();
    fence_sums(s);
    math.release_key();
    if (kStagesResults && stored_slot >= 0 && thread == 0) {
      wait_for_store_reads();
      arrive(barriers.query_free(stored_slot));
    }
    math.mask(s, block);
    weigh<true, true>(s, state, rescale, params.attention.scale_log2);
    pack_weights(weights, s);
    --block;
    // Masked blocks at the end, open ones, with a sliding window masked ones again.
    const int32_t first = math.tile().first, open_begin = max(math.tile().open_begin, first);
    int32_t masked_down_to = max(math.tile().open_end, first);
#pragma unroll 1
    for (;;) {
#pragma unroll 1
      for (; block >= masked_down_to; --block) math.step<true>(out, weights, state, block);
      if (block < first) break;
#pragma unroll 1
      for (; block >= open_begin; --block) math.step<false>(out, weights, state, block);
      masked_down_to = first;
    }
    math.issue_p_v(out, weights);
    stored_slot = math.slot.at;
    if (!kStagesResults && is_elected()) arrive(barriers.query_free(stored_slot));
    math.slot.advance();
    real = math.wait_for_tile(tile_info(shared, math.info.at ^ 1));
    math.issue_first_q_k(s, real);
    wait_for_products<1>();
    fence_sums(out);
    math.release_value();
    finish_tile(math, math.tile(), out, state, stored_slot);
    math.info.advance();
  }
  wait_for_products<0>();
  fence_sums(s);
  if (thread == 0) wait_for_stores();
}

}  // namespace strobe::kernel

extern "C" __global__ void __launch_bounds__(strobe::kernel::kThreads, 1)
    strobe_attention_prefill_sm90(const __grid_constant__ strobe::kernel::AttentionSm90Params params) {
  using namespace strobe::kernel;
  extern __shared__ __align__(1024) char shared[];
  const Barriers barriers{shared_address(shared)};
  const int32_t warp = __shfl_sync(0xffffffff, static_cast<int32_t>(threadIdx.x) / kWarpLanes, 0);
  const int32_t lane = static_cast<int32_t>(threadIdx.x) % kWarpLanes;
  if (threadIdx.x == 0) init_barriers(barriers);
  __syncthreads();
  wait_for_kernel_before();
  if (warp / 4 < kGroups) {
    take_registers<kForm.math_registers>();
    calculate(params, shared, barriers, warp / 4);
    return;
  }
  give_registers<kForm.load_registers>();
  if (warp == 4 * kGroups)
    Loader{.params = params, .shared = shared, .base = barriers.base, .barriers = barriers, .lane = lane}
        .run();
  else
    watch_values(shared, barriers, warp - 4 * kGroups - 1, lane);
}
