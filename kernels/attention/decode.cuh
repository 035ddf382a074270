// Attention of few query rows to long KV: decode, and the speculative decoding of a few tokens.
//
// Roles. There are none: each warp copies, waits for and consumes tiles of its own, kTileRows KV tokens of
// one KV head, through a ring of kStages slots, so that nothing but __syncwarp orders its work. A block has
// one run of items, which lie end to end: the ring runs on across their borders and never drains. The block's
// warps are kHeads KV heads times kParts interleaved shares of the tokens; parts meet at an item's end only,
// where their outputs take the places of the tiles that they have just used up.
//
// Bytes under way. Little's law asks for 27 to 36 KiB an SM on an H200 (4.8 TB/s, 0.8 to 1 us). The ring has
// 128 KiB (8 warps x 2 slots x 16 rows x 512 bytes of bf16 at head dim 128) and all of it has been asked for
// while a warp waits. More was slower: favoured SMs draw further ahead (192 KiB: 1 to 2 % less). Shared
// memory of a block is padded beyond half of the SM's: with room for a second block the blocks of the next
// grid crowd on the SMs that end first (25 % less).
//
// Floor. An SM's share of 4.6 TB/s is 35 bytes/ns: a bf16 tile of 8 KiB in 240 ns, for which a warp needs
// about 0.3 us. 16 products a tile are a twentieth of what its tensor cores do; shared memory moves 16 KiB in
// 128 of 420 cycles. fp8 has twice the rows per byte, and its conversions.
//
// Measured on an H200 by benchmarks/cuda_attention, TB/s of K and V, beside cuDNN on contiguous K and V on
// the same card. bf16, 32/8 heads, head dim 128, page size 16 where nothing else is said.
//
//   batch x length, page size     this   cuDNN
//   128 x 4096                    4.46   4.49
//   64 x 4096, page size 1        4.27
//   64 x 4096, 32/32 heads        4.51
//   16 x 4096                     4.06   4.17
//   16 x 4096, page size 64       4.24   4.17
//   1 x 8192                      2.45   2.18
//   1 x 131072                    4.22   4.19
//   1 x 65536 + 63 x 1024         4.18
//   64 random lengths             4.26
//   128 x 4096, e4m3, 64          4.36
//   64 x 4096, head dim 256, 512  4.45, 4.44
//
// Merges. A launch of their own took 1 us more at 1 x 8192 (2.28 TB/s); what is left of them there is 2.4 us.
// Merging a row when its item ends, which the full ring hides, instead of all rows at a block's end, and
// leaving short rows whole brought the skewed batch from 131.8 to 127.4 us. 34 pieces asked for at once
// instead of 17: 0.7 us more at 1 x 8192.
//
// Tried and left: 3 slots (-1 %), 4 warps x 6 slots (-3 %), tiles of 32 rows across pages (16 x 4096: -1 %),
// cp.async with L2::256B (-6 %), one KV head a block at batch 128 (-2 %), all heads of a request in a block
// with its KV cut in eight (16 x 4096: -9 %, nearly all of it merges), evict-first hints and a tail of short
// runs dealt at run time (nothing), L2 prefetch before the wait for the kernel before (slower), runs of equal
// cost instead of equal pieces for one long request (-15 %).
//
// Constants: Dtype kQuery, kKv; int kDimQk, kDimVo; int kHeadTiles (8 rows each), kHeads (KV heads of a
// block); bool kRowPages (a tile's rows may lie in different pages), kGeneral (masks, ALiBi, soft cap); int
// kWarps, kStages, kTileRows.
#include "attention/decode_attend.cuh"
#include "attention/decode_merge.cuh"
#include "attention/decode_ring.cuh"

namespace strobe::kernel {

struct DecodeShared {
  WarpResults results;
  CutRow cut;
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
          .merge = number(request.word[3])};
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
    if (item.slot >= 0) merge_when_last(p, block.cut, item.merge);
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
