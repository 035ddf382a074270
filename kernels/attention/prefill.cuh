// Attention on tensor cores by mma.sync (sm_80 and later), after FlashAttention-2: any number of query
// tokens, ragged or paged KV, all masks and transforms of the logits.
//
// A block does one item for one KV head, kTileRows rows (query tokens x heads of the group) at a time; a
// warp has kRowTiles x 16 of them. The block goes through the KV in tiles of kTileTokens: while it computes
// on one, the next is on its way into the other stage. Scores and weights stay in registers: the accumulator
// layout of Q K^T, packed to 16 bits, is the operand layout of P V. Maxima are followed lazily: the output is
// rescaled only when a weight would pass 2^kSlack.
//
// Shared memory: Q [kTileRows][kTileQk], then for each stage K [kTileTokens][kTileQk], V
// [kTileTokens][kTileVo]. 128 rows of 128 elements: 32 + 2 (8 + 8) = 64 KiB, two blocks an SM of Hopper.
// Registers then: output 128, scores 32, fragments 16, addresses 12, rows 8.
//
// Constants: Dtype kType; int kTileRows, kTileQk, kTileVo; bool kFp8 (the cache is e4m3 or e5m2:
// its tiles are converted in shared memory), kGeneral (takes custom masks, soft caps and ALiBi).
#include "attention/prefill_tile.h"
#include "attention/specials.h"
#include "ptx/dependency.h"

namespace strobe::kernel {

constexpr int kQBytes = kTileRows * kTileQk * 2, kKBytes = kTileTokens * kTileQk * 2;
constexpr int kStageBytes = kKBytes + kTileTokens * kTileVo * 2;
constexpr int kLeastBlocks = kTileRows == 64 && kTileVo <= 128 ? 3 : 2;

struct alignas(16) Chunk {
  char bytes[kChunkBytes];
};

STROBE_DEVICE void copy_queries(const AttentionParams& params, const Shared& shared, SharedAddress tile) {
  constexpr int kRowChunks = kTileQk / kChunkDims;
#pragma unroll 1
  for (int32_t i = static_cast<int32_t>(threadIdx.x); i < kTileRows * kRowChunks; i += kThreads) {
    const int32_t row = i / kRowChunks, chunk = i % kRowChunks, number = shared.first_row + row;
    const bool valid = number < shared.rows && chunk * kChunkDims < params.head_dim_qk;
    const char* from =
        params.q + (valid ? chunk * kChunkBytes : 0) +
        place_of_row(params, shared, number).offset(shared.item, params.q_stride_token, params.q_stride_head);
    copy_async_or_zero<kChunkBytes>(tile + chunk_place<kTileQk>(row, chunk), from, valid);
  }
}

// The rows of the tokens of a group of tiles.
STROBE_DEVICE void find_group(const AttentionParams& params, Shared& shared, int32_t group) {
  const TokenRange& tokens = shared.ranges.block;
  find_rows(params, shared.item, params.k + kv_head_of_block() * params.k_stride_head,
            params.v + kv_head_of_block() * params.v_stride_head + first_dim_of_block() * kCacheBytes,
            tokens.begin + group * kGroupTokens, tokens.end, shared.tokens[group % 2]);
}

STROBE_DEVICE void copy_tile(const AttentionParams& params, const Shared& shared, int32_t number,
                             SharedAddress to) {
  const TokenRange& tokens = shared.ranges.block;
  const int32_t count = tokens.end - tokens.begin - number * kTileTokens;
  const TokenRows<kGroupTokens>& group = shared.tokens[number / kGroupTiles % 2];
  const char* const* k = group.k + number % kGroupTiles * kTileTokens;
  const char* const* v = group.v + number % kGroupTiles * kTileTokens;
  if constexpr (kFp8) {
    copy_fp8_rows<kTileTokens, kTileQk, kThreads>(k, count, params.head_dim_qk, to);
    copy_fp8_rows<kTileTokens, kTileVo, kThreads>(v, count, dims_of_block(params), to + kKBytes / 2);
  } else {
    copy_rows<kTileTokens, kTileQk, kThreads>(k, count, params.head_dim_qk, to);
    copy_rows<kTileTokens, kTileVo, kThreads>(v, count, dims_of_block(params), to + kKBytes);
  }
  end_copy_group();
}

STROBE_DEVICE void convert_tile(const AttentionParams& params, const char* raw, char* stage) {
  const auto cache = static_cast<Dtype>(params.kv_dtype);
  convert_rows<kType, kTileTokens, kTileQk, kThreads>(raw, cache, stage);
  convert_rows<kType, kTileTokens, kTileVo, kThreads>(raw + kKBytes / 2, cache, stage + kKBytes);
}

STROBE_DEVICE void store_pair(char* to, Dtype dtype, float first, float second) {
  if (dtype == Dtype::kF32) {
    *reinterpret_cast<float2*>(to) = float2{first, second};
  } else {
    *reinterpret_cast<uint32_t*>(to) =
        dtype == Dtype::kF16 ? pair_of<Dtype::kF16>(first, second) : pair_of<Dtype::kBf16>(first, second);
  }
}

// A lane's share of a row's results; `sum` is that of all lanes.
STROBE_DEVICE void finish_row(const AttentionParams& params, const Shared& shared, int32_t number,
                              float maximum, float sum, const float (&out)[kVoGroups][2]) {
  const bool whole = shared.item.slot < 0;
  const auto dtype = whole ? static_cast<Dtype>(params.out_dtype) : Dtype::kF32;
  const int32_t bytes = dtype == Dtype::kF32 ? 4 : 2;
  const ItemRow row = place_of_row(params, shared, number);
  const RowEnd end(params, maximum, sum, row.head, whole);
  const int64_t partial =
      static_cast<int64_t>(shared.item.slot + kv_head_of_block()) * params.partial_rows + number;
  char* to = whole ? params.out + row.offset(shared.item, params.out_stride_token, params.out_stride_head)
                   : reinterpret_cast<char*>(params.partial_out + partial * params.head_dim_vo);
  to += first_dim_of_block() * bytes;
#pragma unroll
  for (int d = 0; d < kVoGroups; ++d) {
    const int32_t column = d * 8 + lane_of_thread() % 4 * 2;
    if (column < dims_of_block(params))
      store_pair(to + column * bytes, dtype, sum == 0 ? 0 : out[d][0] * end.factor,
                 sum == 0 ? 0 : out[d][1] * end.factor);
  }
  if (lane_of_thread() % 4 != 0 || first_dim_of_block() != 0) return;
  if (!whole)
    params.partial_lse[partial] = end.lse;
  else if (params.lse != nullptr)
    *reinterpret_cast<float*>(reinterpret_cast<char*>(params.lse) +
                              row.offset(shared.item, params.lse_stride_token, params.lse_stride_head)) =
        end.lse;
}

STROBE_DEVICE void finish_rows(const AttentionParams& params, const Shared& shared, const RowStates& state,
                               const Outputs& out) {
  const float scale = kGeneral ? 1.0f : params.scale_log2;
#pragma unroll
  for (int t = 0; t < kRowTiles; ++t)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float sum = sum_of_row(state.sum[t][half]);
      const int32_t number = row_of_lane(shared, t, half);
      if (number >= shared.rows) continue;
      float row[kVoGroups][2];
#pragma unroll
      for (int d = 0; d < kVoGroups; ++d) {
        row[d][0] = out[t][d][half * 2];
        row[d][1] = out[t][d][half * 2 + 1];
      }
      finish_row(params, shared, number, state.reference[t][half] * scale, sum, row);
    }
}

STROBE_DEVICE TokenRange any_of_rows(const AttentionParams& params, const Shared& shared, int32_t first,
                                     int32_t last) {
  return {attended(params, shared.item, place_of_row(params, shared, first).position).begin,
          attended(params, shared.item, place_of_row(params, shared, last).position).end};
}

STROBE_DEVICE void find_ranges(const AttentionParams& params, Shared& shared) {
  const int32_t first = shared.first_row, last = min(first + kTileRows, shared.rows) - 1;
  const auto warp = static_cast<int32_t>(threadIdx.x);
  if (warp < kWarps) {
    const int32_t own = first + warp * (16 * kRowTiles);
    const TokenRange nothing{0, 0};
    shared.ranges.warp[warp] =
        own <= last ? any_of_rows(params, shared, own, min(own + 16 * kRowTiles - 1, last)) : nothing;
  }
  if (threadIdx.x != 0) return;
  const TokenRange of_first = any_of_rows(params, shared, first, first),
                   of_last = any_of_rows(params, shared, last, last);
  shared.ranges.block = {of_first.begin, of_last.end};
  shared.ranges.all = {of_last.begin, of_first.end};
}

STROBE_DEVICE bool is_masked(const AttentionParams& params, const TileRanges& ranges, int32_t token) {
  return token < ranges.all.begin || token + kTileTokens > ranges.all.end ||
         (kGeneral && params.custom_mask != nullptr);
}

// The warp's rows to the tokens from `token`, which lie in the stage.
STROBE_DEVICE void attend_tile(const AttentionParams& params, const Shared& shared, int32_t token,
                               bool masked, const QueryPlaces& q, SharedAddress stage, RowStates& state,
                               Outputs& out) {
  const float scale = kGeneral ? 1.0f : params.scale_log2;
  Scores scores;
  multiply_q_k(q, KeyPlaces(stage), scores);
  if (kGeneral || masked) mask_scores(params, shared, token, scores);
  follow_maxima(scores, scale, state, out);
  Weights weights;
  weigh(scores, scale, state, weights);
  multiply_p_v(weights, ValuePlaces(stage + kKBytes), out);
  if (masked) add_specials(params, shared, token, out);
}

// kTileRows rows of the item, from shared.first_row.
STROBE_DEVICE void attend_rows(const AttentionParams& params, char* tiles, Shared& shared) {
  const SharedAddress q_tile = shared_address(tiles), stages = q_tile + kQBytes;
  const SharedAddress raw = stages + kStages * kStageBytes;  // of an 8-bit cache
  find_ranges(params, shared);
  copy_queries(params, shared, q_tile);
  __syncthreads();
  const TileRanges& ranges = shared.ranges;
  const int32_t begin = ranges.block.begin, end = ranges.block.end;
  const int32_t warp = static_cast<int32_t>(threadIdx.x) / kWarpThreads;
  const QueryPlaces q(q_tile + first_row_of_warp() * (kTileQk * 2));
  Outputs out;
  RowStates state;
  clear(state, out);
  if (begin < end) {
    find_group(params, shared, 0);
    __syncthreads();
    copy_tile(params, shared, 0, kFp8 ? raw : stages);
  }
#pragma unroll 1
  for (int32_t number = 0, token = begin; token < end; ++number, token += kTileTokens) {
    const int32_t stage = kStages > 1 ? number % 2 * kStageBytes : 0;
    const bool masked = is_masked(params, ranges, token);
    wait_for_copies<0>();
    if constexpr (kFp8) {
      if constexpr (kStages == 1) __syncthreads();
      convert_tile(params, tiles + (raw - q_tile), tiles + kQBytes + stage);
    }
    if (number % kGroupTiles == 0) find_group(params, shared, number / kGroupTiles + 1);
    __syncthreads();
    if constexpr (kFp8)
      copy_tile(params, shared, number + 1, raw);
    else if constexpr (kStages > 1)
      copy_tile(params, shared, number + 1, stages + (kStageBytes - stage));
    if (masked) take_out_specials(tiles + kQBytes + stage + kKBytes, shared.special);
    if (token < ranges.warp[warp].end && token + kTileTokens > ranges.warp[warp].begin)
      attend_tile(params, shared, token, masked, q, stages + stage, state, out);
    if constexpr (!kFp8 && kStages == 1) {
      __syncthreads();
      copy_tile(params, shared, number + 1, stages);
    }
  }
  let_next_kernel_begin();
  finish_rows(params, shared, state, out);
  wait_for_copies<0>();
  __syncthreads();
}

}  // namespace strobe::kernel

extern "C" __global__ void __launch_bounds__(strobe::kernel::kThreads, strobe::kernel::kLeastBlocks)
    strobe_attention_prefill(const __grid_constant__ strobe::kernel::AttentionParams params) {
  using namespace strobe::kernel;
  extern __shared__ Chunk tiles[];
  __shared__ Shared shared;
  wait_for_kernel_before();
  if (params.counts != nullptr && static_cast<int32_t>(blockIdx.x) >= params.counts->items) return;
#pragma unroll 1
  for (int32_t row = 0, rows = 1; row < rows; row += kTileRows) {
    if (threadIdx.x == 0) {
      if (row == 0) shared.item = params.items[blockIdx.x];
      shared.rows = shared.item.q_tokens * static_cast<int32_t>(params.group.value);
      shared.first_row = row;
    }
    __syncthreads();
    rows = shared.rows;
    attend_rows(params, reinterpret_cast<char*>(tiles), shared);
  }
}
