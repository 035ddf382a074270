// Attention of few query rows to long KV: decode, and the speculative decoding of a few tokens.
//
// Constants: Dtype kQuery, kKv; int kDimQk, kDimVo; int kHeadTiles (8 rows each), kHeads (KV heads of a
// block); bool kRowPages (a tile's rows may lie in different pages), kGeneral (masks, ALiBi, soft cap); int
// kWarps, kStages, kTileRows.
#include "attention/decode_attend.cuh"
#include "attention/decode_result.cuh"
#include "attention/decode_ring.cuh"

namespace strobe::kernel {

struct DecodeShared {
  WarpResults results;
};

constexpr int kRingBytes = kWarps * kWarpRingBytes;
constexpr int kQueryBytes = kWarps * kWarpQueryBytes;

STROBE_DEVICE AttentionItem load_item(const AttentionItem* item) {
  const auto copy = load_settled<16>(item);
  const auto rows = load_settled<16>(reinterpret_cast<const char*>(item) + 16);
  const auto request = load_settled<16>(reinterpret_cast<const char*>(item) + 32);
  const auto number = [](uint32_t word) { return static_cast<int32_t>(word); };
  return {.kv_head = number(copy.word[0]),
          .kv_begin = number(copy.word[1]),
          .kv_end = number(copy.word[2]),
          .kv_base = number(copy.word[3]),
          .q_row = number(rows.word[0]),
          .q_tokens = number(rows.word[1]),
          .position = number(rows.word[2]),
          .slot = number(rows.word[3]),
          .request = number(request.word[0]),
          .q_begin = number(request.word[1]),
          .kv_len = number(request.word[2]),
          .unused = 0};
}

STROBE_DEVICE void decode_run(const AttentionParams& p, char* shared) {
  DecodeShared& block = *reinterpret_cast<DecodeShared*>(shared + kRingBytes + kQueryBytes);
  char* ring = shared + warp_of_block() * kWarpRingBytes;

  TileCursor cursor(p);
  AttentionItem item = load_item(p.items + blockIdx.x);
  const AttentionRun run = run_of_block(p);
  wait_for_kernel_before();
  let_next_kernel_begin();
  if (item.kv_head < 0) return;

#pragma unroll 1
  for (int i = 0; i < kStages; ++i) cursor.copy(p, shared_address(ring + i * kSlotBytes));
  Queries queries(shared + kRingBytes + warp_of_block() * kWarpQueryBytes);
  queries.load_item(p, item);
  ItemMask mask;
  RowState state;
  int slot = 0;
  for (int next = run.begin;; ++next) {
    if constexpr (kGeneral) mask.start_item(item);
    state.clear();
    int token = item.kv_begin + warp_part() * kTileRows;
    const bool worked = token < item.kv_end;
    AttentionItem following;
    for (bool last = false; !last;) {
      char* const tile = ring + slot * kSlotBytes;
      if (worked) {
        wait_for_copies<kStages - 1>();
        __syncwarp();
        attend_tile(p, queries, mask, state, tile, token, item.kv_end - token);
        __syncwarp();
      }
      token += kParts * kTileRows;
      last = token >= item.kv_end;
      if (last) {
        if (next < run.end) following = load_item(p.items + next);
        if (kQueryInRegisters && next < run.end) queries.load_item(p, following);
#pragma unroll
        for (int t = 0; t < kHeadTiles; ++t) {
          publish(block.results, state, t, tile, worked);
          sync_parts();
          combine_parts(p, block.results, t, item);
          sync_parts();
        }
        if (!kQueryInRegisters && next < run.end) queries.load_item(p, following);
      }
      if (worked) {
        cursor.copy(p, shared_address(tile));
        slot = slot + 1 == kStages ? 0 : slot + 1;
      }
    }
    if (next >= run.end) return;
    item = following;
  }
}

}  // namespace strobe::kernel

extern "C" __global__ void __launch_bounds__(strobe::kernel::kWarpThreads* kWarps, 1)
    strobe_attention_decode(const __grid_constant__ strobe::kernel::AttentionParams params) {
  extern __shared__ uint4 shared[];
  strobe::kernel::decode_run(params, reinterpret_cast<char*>(shared));
}
