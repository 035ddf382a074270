// Attention on tensor cores by mma.sync (sm_80 and later), after FlashAttention-2: any number of query
// tokens, ragged or paged KV, all masks and transforms of the logits, RoPE on the fly, rows of any alignment.
// Comes after struct Hooks, which says what becomes of q, k, logits and outputs (prefill_hooks.h,
// variant_hooks.h).
//
// A block does one item for one KV head, kTileRows rows (query tokens x heads of the group) at a time; a
// warp has kRowTiles x 16 of them. The block goes through the KV in tiles of kTileTokens: while it computes
// on one, the next is on its way into the other stage. Scores and weights stay in registers: the accumulator
// layout of Q K^T, packed to 16 bits, is the operand layout of P V. Maxima are followed lazily: the output is
// rescaled only when a weight would pass 2^kSlack.
//
// Shared memory: Q [kTileRows], then for each stage K [kTileTokens], V [kTileTokens], in rows of 16 bytes
// more than kTileQk or kTileVo elements. 128 rows of 128 elements and tiles of 64 tokens: 34 + 2 (17 + 17) =
// 102 KiB, two blocks an SM of Hopper. Registers then: output 128, scores 64, fragments 16, rows 8,
// addresses 3.
//
// On Hopper a scheduler's tensor cores take a product every 6 cycles, and its two warps give it one every 10:
// there are 4 instructions to a product, and each warp waits for its own loads and exponentials. Hence few of
// them: a sum of weights is a product, too (unless it has to be exact), addresses are a register and a
// constant, one barrier for 64 tokens, and no maximum across lanes while nothing grows.
//
// H200, 16384 tokens, 16 heads of 128, TFLOP/s full / causal, prototypes in one process: 367 / 336 with exact
// sums; 384 / 348 with sums by products; tiles of 32 tokens 320 / 297; 256 rows a block, one an SM, 349 /
// 310; one stage of K and V, two barriers a tile, 325 / 305; torch's flash attention 338 / 298. Lane
// addresses made anew for each tile, to spare registers, cost 4 %.
//
// Masks are words of a bit for each token, and V is looked through for NaN and Inf by the threads that have
// brought it, before the tile's barrier. In one process with the kernel before, which had neither: 371 (388)
// / 343 (345) at 16384 tokens, causal 312 (299) at 4096, 281 (256) at 2048, 236 (199) at 1024; the general
// form full 281 (119), with a soft cap 239 (95), RoPE on the fly 67 (55). What the full form has lost lies in
// the branches at the barrier: to keep whether a tile had NaN in shared memory, not in a register, gave 2 %
// back.
//
// Constants: Dtype kType; int kTileRows, kTileQk, kTileVo, kTileTokens; bool kFp8 (the cache is e4m3 or e5m2:
// its tiles are converted in shared memory), kGeneral (takes custom masks, soft caps, ALiBi and hooks of a
// user), kExactSums (for log-sum-exps); RowForm kRowForm.
#pragma once

#include "attention/change_rows.h"
#include "attention/prefill_result.h"
#include "attention/prefill_scores.h"
#include "attention/specials.h"
#include "ptx/dependency.h"

namespace strobe::kernel {

constexpr bool kLoads = kRowForm == RowForm::kLoaded, kChanges = kRowForm == RowForm::kChanged;
constexpr bool kConverts = kFp8 && !kLoads;
constexpr int kLeastBlocks = prefill_blocks_per_sm(kTileRows, kTileVo);
constexpr int kQBytes = kTileRows * tile_row_bytes(kTileQk), kKBytes = kTileTokens * tile_row_bytes(kTileQk);
constexpr int kStageBytes = kKBytes + kTileTokens * tile_row_bytes(kTileVo);

STROBE_DEVICE int32_t stage_of(int32_t tile) { return kStages > 1 ? tile % 2 : 0; }

struct alignas(16) Chunk {
  char bytes[kChunkBytes];
};

// A block's tiles in shared memory.
class Tiles {
 public:
  STROBE_DEVICE explicit Tiles(char* begin) : begin_(begin), address_(shared_address(begin)) {}
  STROBE_DEVICE char* q() const { return begin_; }
  STROBE_DEVICE SharedAddress q_address() const { return address_; }
  STROBE_DEVICE char* k(int32_t stage) const { return begin_ + k_offset(stage); }
  STROBE_DEVICE char* v(int32_t stage) const { return k(stage) + kKBytes; }
  STROBE_DEVICE SharedAddress k_address(int32_t stage) const { return address_ + k_offset(stage); }
  STROBE_DEVICE SharedAddress v_address(int32_t stage) const { return k_address(stage) + kKBytes; }
  // K and V of a tile as an 8-bit cache has them.
  STROBE_DEVICE char* raw() const { return begin_ + k_offset(kStages); }
  STROBE_DEVICE SharedAddress raw_address() const { return address_ + k_offset(kStages); }
  // What changed queries and keys lack.
  STROBE_DEVICE char* q_rest() const { return begin_ + kRestOffset; }
  STROBE_DEVICE char* k_rest() const { return begin_ + kRestOffset + kQBytes; }
  STROBE_DEVICE SharedAddress q_rest_address() const { return address_ + kRestOffset; }
  STROBE_DEVICE SharedAddress k_rest_address() const { return address_ + kRestOffset + kQBytes; }

 private:
  STROBE_DEVICE static constexpr int32_t k_offset(int32_t stage) { return kQBytes + stage * kStageBytes; }
  static constexpr int32_t kRawBytes = kFp8 ? kTileTokens * (kTileQk + kTileVo) : 0;
  static constexpr int32_t kRestOffset = kQBytes + kStages * kStageBytes + kRawBytes;

  char* begin_;
  SharedAddress address_;
};

// Rows of queries; those behind the item's last become 0.
STROBE_DEVICE void copy_queries(const AttentionParams& params, const Shared& shared, const Tiles& tiles) {
  const int32_t lane = static_cast<int32_t>(threadIdx.x) % kPanelChunks;
#pragma unroll 1
  for (int32_t row = static_cast<int32_t>(threadIdx.x) / kPanelChunks; row < kTileRows;
       row += kThreads / kPanelChunks) {
    const int32_t number = shared.first_row + row, place = row * tile_row_bytes(kTileQk);
    const bool valid = number < shared.rows;
    const char* from =
        params.q +
        place_of_row(params, shared, number).offset(shared.item, params.q_stride_token, params.q_stride_head);
    if constexpr (kLoads) {
      auto* to = reinterpret_cast<uint32_t*>(tiles.q() + place);
      for (int32_t pair = lane; pair < kTileQk / 2; pair += kPanelChunks)
        to[pair] = valid && pair * 2 < params.head_dim_qk ? load_pair<kType>(from, pair, kType) : 0;
    } else {
#pragma unroll
      for (int chunk = 0; chunk < kTileQk / kChunkDims; chunk += kPanelChunks)
        copy_async_or_zero<kChunkBytes>(tiles.q_address() + place + (chunk + lane) * kChunkBytes,
                                        from + (chunk + lane) * kChunkBytes,
                                        valid && (chunk + lane) * kChunkDims < params.head_dim_qk);
    }
  }
}

// The rows of the tokens of a group of tiles.
STROBE_DEVICE void find_group(const AttentionParams& params, Shared& shared, int32_t group) {
  const TokenRange& tokens = shared.ranges.block;
  find_rows(params, shared.item, params.k + kv_head_of_block() * params.k_stride_head,
            params.v + kv_head_of_block() * params.v_stride_head + first_dim_of_block() * kCacheBytes,
            tokens.begin + group * kGroupTokens, tokens.end, shared.tokens[group % 2]);
}

// Brings tile `number`, if there is one, to its stage, or as it is to where convert_tile finds it.
STROBE_DEVICE void copy_tile(const AttentionParams& params, const Shared& shared, const Tiles& tiles,
                             int32_t number) {
  const TokenRange& tokens = shared.ranges.block;
  const int32_t count = tokens.end - tokens.begin - number * kTileTokens, stage = stage_of(number);
  if (count <= 0) return;
  const int32_t dims = dims_of_block(params);
  const TokenRows<kGroupTokens>& group = shared.tokens[number / kGroupTiles % 2];
  const char* const* k = group.k + number % kGroupTiles * kTileTokens;
  const char* const* v = group.v + number % kGroupTiles * kTileTokens;
  if constexpr (kLoads) {
    const auto cache = static_cast<Dtype>(params.kv_dtype);
    load_rows<kType, kTileTokens, kTileQk, kThreads>(k, count, params.head_dim_qk, cache, tiles.k(stage));
    load_rows<kType, kTileTokens, kTileVo, kThreads>(v, count, dims, cache, tiles.v(stage));
  } else if constexpr (kFp8) {
    copy_fp8_rows<kTileTokens, kTileQk, kThreads>(k, count, params.head_dim_qk, tiles.raw_address());
    copy_fp8_rows<kTileTokens, kTileVo, kThreads>(v, count, dims,
                                                  tiles.raw_address() + kTileTokens * kTileQk);
  } else {
    copy_rows<kTileTokens, kTileQk, kThreads>(k, count, params.head_dim_qk, tiles.k_address(stage));
    copy_rows<kTileTokens, kTileVo, kThreads>(v, count, dims, tiles.v_address(stage));
  }
  end_copy_group();
}

STROBE_DEVICE void convert_tile(const AttentionParams& params, const Tiles& tiles, int32_t stage) {
  const auto cache = static_cast<Dtype>(params.kv_dtype);
  convert_rows<kType, kTileTokens, kTileQk, kThreads>(tiles.raw(), cache, tiles.k(stage));
  convert_rows<kType, kTileTokens, kTileVo, kThreads>(tiles.raw() + kTileTokens * kTileQk, cache,
                                                      tiles.v(stage));
}

STROBE_DEVICE void change_queries(const AttentionParams& params, const Shared& shared, Hooks& hooks,
                                  const Tiles& tiles) {
  change_rows<kType, kTileRows, kTileQk, kThreads>(
      params, hooks, kv_head_of_block(), tiles.q(), tiles.q_rest(),
      [&](int32_t row) { return place_of_row(params, shared, shared.first_row + row); });
}

STROBE_DEVICE void change_keys(const AttentionParams& params, const Shared& shared, Hooks& hooks,
                               const Tiles& tiles, int32_t number) {
  const int32_t first = shared.ranges.block.begin + number * kTileTokens;
  change_rows<kType, kTileTokens, kTileQk, kThreads>(
      params, hooks, kv_head_of_block(), tiles.k(stage_of(number)), tiles.k_rest(),
      [&](int32_t row) { return KeyPlace{min(first + row, shared.item.kv_end - 1)}; });
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
  const auto own = static_cast<int32_t>(threadIdx.x);
  if (own < kTileRows) {
    const ItemRow row = place_of_row(params, shared, first + own);
    const TokenRange nothing{0, 0};
    shared.row[own] = {first + own > last ? nothing : attended(params, shared.item, row.position),
                       row.position, row.head};
  }
  if (threadIdx.x != 0) return;
  const TokenRange of_first = any_of_rows(params, shared, first, first),
                   of_last = any_of_rows(params, shared, last, last);
  TileRanges& ranges = shared.ranges;
  ranges.block = {of_first.begin, of_last.end};
  const int32_t begin = of_first.begin;
  // What a mask hides may hold NaN.
  const bool none_whole = Hooks::kMasks || (kGeneral && params.custom_mask != nullptr);
  ranges.tiles = (of_last.end - begin + kTileTokens - 1) / kTileTokens;
  ranges.whole_begin = (of_last.begin - begin + kTileTokens - 1) / kTileTokens;
  ranges.whole_end = none_whole ? 0 : max(of_first.end - begin, 0) / kTileTokens;
}

// The warp's rows to tile `number`; `special`: V has had NaN or Inf that take_out_specials noted.
STROBE_DEVICE void attend_tile(const AttentionParams& params, Shared& shared, Hooks& hooks, int32_t number,
                               bool masked, bool special, const Tiles& tiles, RowStates& state,
                               Outputs& out) {
  const int32_t stage = stage_of(number), token = shared.ranges.block.begin + number * kTileTokens;
  if (masked || Hooks::kOfUser) {
    const TokenRange& seen = shared.ranges.warp[threadIdx.x / kWarpThreads];
    if (token >= seen.end || token + kTileTokens <= seen.begin) return;
  }
  const float scale = kGeneral ? 1.0f : params.scale_log2;
  const SharedAddress row = first_row_of_warp() * tile_row_bytes(kTileQk);
  Scores scores;
  multiply_q_k<false>(QueryPlaces(tiles.q_address() + row), KeyPlaces(tiles.k_address(stage)), scores);
  if constexpr (kChanges) {
#pragma unroll 1
    for (int rest_of_q = Hooks::kKey ? 0 : 1; rest_of_q < (Hooks::kQuery ? 2 : 1); ++rest_of_q)
      multiply_q_k<true>(QueryPlaces((rest_of_q ? tiles.q_rest_address() : tiles.q_address()) + row),
                         KeyPlaces(rest_of_q ? tiles.k_address(stage) : tiles.k_rest_address()), scores);
  }
  if (kGeneral || masked) finish_scores(params, shared, hooks, number, masked, scores);
  if constexpr (Hooks::kOfUser)
    if (special) note_visible(scores, shared);
  follow_maxima(scores, scale, state, out);
  Weights weights;
  weigh(scores, scale, state, weights);
  multiply_p_v(weights, ValuePlaces(tiles.v_address(stage)), state, out);
  if (special) add_specials(params, shared, number, out);
}

// The barrier behind which tile `number` is there for all threads. Whether its V has NaN or Inf that had to
// be taken out.
STROBE_DEVICE bool wait_for_tile(const AttentionParams& params, Shared& shared, const Tiles& tiles,
                                 int32_t number, bool masked) {
  if (!masked) {
    __syncthreads();
    return false;
  }
  if constexpr (kConverts || kLoads) __syncthreads();
  char* v = tiles.v(stage_of(number));
  const bool special = __syncthreads_or(has_own_specials(v)) != 0;
  if (!special) return false;
  if constexpr (!Hooks::kOfUser) note_visible(params, number, shared);
  take_out_specials(v, shared.special);
  return true;
}

// kTileRows rows of the item, from shared.first_row.
STROBE_DEVICE void attend_rows(const AttentionParams& params, const Tiles& tiles, Shared& shared,
                               Hooks& hooks) {
  find_ranges(params, shared);
  copy_queries(params, shared, tiles);
  __syncthreads();
  Outputs out;
  RowStates state;
  clear(state, out);
  if (shared.ranges.tiles > 0) {
    find_group(params, shared, 0);
    __syncthreads();
    copy_tile(params, shared, tiles, 0);
  }
  if constexpr (kChanges && Hooks::kQuery) {
    wait_for_copies<0>();
    __syncthreads();
    change_queries(params, shared, hooks, tiles);
  }
  const bool has_mask = kGeneral && params.custom_mask != nullptr;
  MaskBits mask;
  if (has_mask && shared.ranges.tiles > 0) mask.load(params, shared, 0);
#pragma unroll 1
  for (int32_t number = 0; number < shared.ranges.tiles; ++number) {
    const bool masked = number < shared.ranges.whole_begin || number >= shared.ranges.whole_end;
    wait_for_copies<0>();
    if constexpr (kConverts) {
      if constexpr (kStages == 1) __syncthreads();
      convert_tile(params, tiles, stage_of(number));
    }
    if (has_mask) mask.store(shared, number);
    if (number % kGroupTiles == 0) find_group(params, shared, number / kGroupTiles + 1);
    const bool special = wait_for_tile(params, shared, tiles, number, masked);
    if (kConverts || kStages > 1) copy_tile(params, shared, tiles, number + 1);
    if (has_mask && number + 1 < shared.ranges.tiles) mask.load(params, shared, number + 1);
    if constexpr (kChanges && Hooks::kKey) {
      change_keys(params, shared, hooks, tiles, number);
      __syncthreads();
    }
    attend_tile(params, shared, hooks, number, masked, special, tiles, state, out);
    if constexpr (!kConverts && kStages == 1) {
      __syncthreads();
      copy_tile(params, shared, tiles, number + 1);
    }
  }
  let_next_kernel_begin();
  finish_rows(params, shared, hooks, state, out);
  wait_for_copies<0>();
  __syncthreads();
}

// All rows of the item shared.item, with the block's dynamic shared memory at `tiles`.
STROBE_DEVICE void attend_item(const AttentionParams& params, Hooks& hooks, Chunk* tiles, Shared& shared) {
  if (threadIdx.x == 0) {
    shared.rows = shared.item.q_tokens * static_cast<int32_t>(params.group.value);
    shared.first_row = 0;
  }
  __syncthreads();
#pragma unroll 1
  do {
    attend_rows(params, Tiles(reinterpret_cast<char*>(tiles)), shared, hooks);
    if (threadIdx.x == 0) shared.first_row += kTileRows;
    __syncthreads();
  } while (shared.first_row < shared.rows);
}

}  // namespace strobe::kernel
