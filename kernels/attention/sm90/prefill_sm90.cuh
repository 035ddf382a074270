// Attention of many query rows on Hopper (sm_90a), by wgmma and tensor copies: ragged or paged KV, causal or
// not, sliding windows, sinks, partial results of split KV.
//
// Constants: Dtype kType, of Q, K and V (f16, bf16, e4m3); int kDimQk, kDimVo; bool kPaged.
//
// Roles. One block an SM, which takes pieces of work (an item for one pack of query heads) until none is
// left. Two or three math warpgroups have 64 query rows each; of a further warpgroup one warp loads
// (load.cuh), three look for NaN and Inf in the V of masked blocks (watch.cuh).
//
// Order of a math group. Products are issued two at a time, and nobody waits for one with nothing queued
// behind it:
//
//   tensor core | Q K[n]  P V[n+1] | Q K[n-1]  P V[n] | … | P V[first]  Q' K'[last] |
//   the group   |   softmax n+1    |     softmax n    | … |       store O           | softmax
//
// The first block of a tile is masked (diagonal, end of KV), further masked blocks have a loop of their own,
// and the rest compares nothing. A row's maximum follows only when it is 2^8 too small; until then the output
// needs no rescaling.
//
// Shared memory and registers, of 232,448 bytes an SM and 65,536 registers:
//
//   head dim   rows x block   queries       K and V      bytes     registers: output + scores + weights of
//   64         192 x 128      2 x 24 KiB    3 x 32 KiB   147,768   32 + 64 + 32   160 (the loading group 32)
//   96         128 x 128      2 x 32 KiB    2 x 64 KiB   196,880   48 + 64 + 32   232 (40)
//   128        128 x 128      2 x 32 KiB    2 x 64 KiB   196,880   64 + 64 + 32   232
//   192, 128   128 x 96       2 x 48 KiB    2 x 60 KiB   221,456   64 + 48 + 24   232
//   256        128 x 64       1 x 64 KiB    2 x 64 KiB   196,864   128 + 32 + 16  232
//
// setmaxnreg moves what the launch was granted: 384 threads x 168 or 512 x 128. With two query slots a
// group's results go out through its queries; with one they go out from registers, and the slot is free once
// the last Q K is done.
//
// Pages. A box brings all panels of eight tokens, then of the next eight: [eights][panels][8 rows][128
// bytes], which wgmma takes by other strides, so that a page of 16 tokens is one copy for K and one for V.
//
// Floor. 4 rows x tokens x head dim operations at what cuBLAS makes of the tensor cores, 754 to 800 TFLOP/s
// on an H200 at its power limit. Exponentials, 16 a cycle and SM, take half as long as the products at head
// dim 128 and as long at 64.
//
// Versions, measured on an H200 in bf16: TFLOP/s, causal / full, 2048 columns of heads, 16384 tokens in one
// request and in requests of 512. Only numbers of one letter compare. (Those of the loop over blocks: overlap
// of the products, lazy maxima, order of the list, turns, registers, came from a study before this kernel.)
//
//   head dim 128: cuDNN                              A  550 / 599    314 / 484
//     V of masked blocks is looked through behind    A  667 / 657    279 / 434
//     its barrier
//   cuDNN                                            B  568 / 599    313 / 471
//     V of masked blocks has a barrier of its own    B  693 / 689    280 / 454
//     and nobody looks: wrong where V has NaN        B  726 / 679    313 / 453
//   cuDNN                                            C  518 / 586    301 / 461
//     eight chunks looked at together; approximate   C  685 / 713    313 / 473
//     division at the end of rows
//     and nobody looks                               C  679 / 707    321 / 475
//   head dim 64: cuDNN                               B  437 / 460    257 / 372
//     three math groups, two stages                  B  499 / 503    183 / 330
//     three stages                                   B  489 / 502    196 / 345
//     two math groups, 40/232 registers              B  467 / 457    208 / 309
//   head dim 256: cuDNN                              B  593 / 659    346 / 504
//     blocks of 80 tokens                            B  704 / 767    218 / 402
//     blocks of 64 tokens                            B  701 / 745    252 / 438
//   pages of 16, four causal requests of 4096, 32/8 heads, beside contiguous KV
//     a copy brings one panel of a page              A  501, contiguous 644
//     a copy brings all panels                       C  574, contiguous 632; pages of 64: 598
//   pages of one token, a copy for each panel        A  61: they are left to the generic kernel
//
// At 512 tokens, what is lost is time between tiles.
//
#include "attention/sm90/load.cuh"
#include "attention/sm90/math_group.cuh"
#include "attention/sm90/output.cuh"
#include "attention/sm90/transpose.cuh"
#include "attention/sm90/watch.cuh"
#include "ptx/dependency.h"
#include "ptx/register_budget.h"

namespace strobe::kernel {

constexpr int kThreads = (kGroups + 1) * kGroupThreads;

STROBE_DEVICE void calculate(const AttentionSm90Params& params, char* shared, const Barriers& barriers,
                             int32_t group) {
  const int32_t thread = static_cast<int32_t>(threadIdx.x) % kGroupThreads, lane = thread % kWarpLanes;
  const SharedAddress base = barriers.base;
  MathGroup math{
      .params = params,
      .shared = shared,
      .base = base,
      .barriers = barriers,
      .group = group,
      .row = thread / kWarpLanes * 16 + lane / 4,
      .lane = lane,
      .keys = place_along_k(base + kKeysAt, kKeyLayout.eight_rows),
      .values = kFp8 ? place_along_k<kTransposedRowBytes>(base + kTransposedAt, 8 * kTransposedRowBytes)
                     : place_across_k(base + kValuesAt, kValueLayout.panel, kValueLayout.eight_rows),
      .query = {},
      .row_scale = {},
      .kept = {},
      .skips = false};
  Scores s;
  bool real = math.wait_for_tile(math.tile());
  if (!real) return;
  math.issue_first_q_k(s, math.tile(), true);
#pragma unroll 1
  while (real) {
    Outputs out;
    Weights weights;
    RowStates state;
    float rescale[2];
#pragma unroll
    for (int i = 0; i < kOutputs; ++i) out[i] = 0.0f;
    int32_t block = math.tile().last - math.skips;
    math.find_scales();
    math.kept.begin_tile();
    const float scale[2] = {math.scale_of(0), math.scale_of(1)};
    wait_for_products<0>();
    fence_sums(s);
    math.release_key(block == math.tile().first);
    if (!kKeepsToItsRows || !math.open_blocks().holds(block)) math.mask(s, block);
    weigh<true, true>(s, state, rescale, scale);
    pack_weights(weights, s);
    if (math.skips) math.pass_over_value();
    --block;
    const int32_t first = math.tile().first;
    if (math.is_idle()) {
#pragma unroll 1
      for (; block >= first; --block) {
        math.pass_over_key(block == first);
        math.pass_over_value();
      }
    }
    // Masked blocks at the end, open ones, with a sliding window masked ones again.
    const BlockRange open = math.open_blocks();
    const int32_t open_begin = max(open.begin, first);
    int32_t masked_down_to = max(open.end, first);
#pragma unroll 1
    for (;;) {
#pragma unroll 1
      for (; block >= masked_down_to; --block) math.step<true>(out, weights, state, block, block == first);
      if (block < first) break;
#pragma unroll 1
      for (; block >= open_begin; --block) math.step<false>(out, weights, state, block, block == first);
      masked_down_to = first;
    }
    math.issue_p_v(out, weights);
    if (!kKeepsToItsRows) math.release_queries();
    real = math.wait_for_tile(math.next_tile());
    math.issue_first_q_k(s, math.next_tile(), real);
    wait_for_products<1>();
    fence_sums(out);
    math.release_value();
    if (kFp8 && math.kept.exists()) math.kept.finish(shared, out, state, scale);
    finish_tile(math, math.tile(), out, state);
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
  else if constexpr (kFp8)
    transpose_values(shared, barriers, warp - 4 * kGroups - 1, lane);
  else
    watch_values(shared, barriers, warp - 4 * kGroups - 1, lane);
}
