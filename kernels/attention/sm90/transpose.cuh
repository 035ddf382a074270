// V of e4m3 blocks, transposed for the products: wgmma takes 8-bit operands along K alone.
//
// Three warps beside the loading one turn [tokens][elements], as copied, into [elements][tokens], each of
// them 32 tokens, 16 elements at a time. Of 8 x 8 pairs of bytes ldmatrix.trans gives lane 4 g + c the tokens
// 2c and 2c
// + 1 of the elements 2g and 2g + 1; two such words, of the tokens 8 further on, have all that a lane's word
// of an output row needs. Nobody exchanges anything, since both orders that come of it suit the products:
//
// - Of 16 tokens, place 4 c + 2 j + i in a row is token 8 j + 2 c + i. That is how a thread of a math group
// has
//   its weights: four of its scores' columns make a word of its operand (pack_weights).
// - Of 16 elements, row 8 b + g is element 2 g + b, so that stmatrix meets no bank twice. A thread then has
//   four neighbouring elements of a result (output_of).
//
// NaN in a masked block, which only some rows or none attend to, is taken out (0 times it would be NaN);
// where an attended token had some, the math groups add it afterwards to the rows that attend to it. e4m3 has
// no Inf.
#pragma once

#include "attention/sm90/layout.cuh"
#include "ptx/matrix.h"
#include "ptx/tensor_copy.h"

namespace strobe::kernel {

constexpr int kPieceTokens = 32, kPieceElements = 16, kChunkOfRow = 16;

// Bit 7 of each byte: whether it is NaN.
STROBE_DEVICE uint32_t nans_of(uint32_t four) { return ((four & 0x7f7f7f7f) + 0x01010101) & 0x80808080; }

STROBE_DEVICE uint32_t without_nans(uint32_t four) { return four & ~((nans_of(four) >> 7) * 0xff); }

// A lane's part in transposing a stage of V: its warp has 32 of the tokens.
struct Transposer {
  SharedAddress base;
  int32_t warp, lane;

  // The first 16 elements of the lane's token; the next ones lie where a bit of the address is another.
  STROBE_DEVICE SharedAddress source(int32_t stage) const {
    const int32_t token = warp * kPieceTokens + lane;
    return base + kValuesAt + stage * kValueBytes + token / 8 * kValueLayout.eight_rows +
           token % 8 * (kPanelRowBytes + kChunkOfRow);
  }

  // Where the lane's row of the first 16 belongs, and its 16 of the warp's tokens.
  STROBE_DEVICE SharedAddress target(int32_t stage) const {
    const int32_t row = lane % 16, chunk = lane / 16;
    return base + kTransposedAt + stage * kTransposedBytes + warp * kTransposedPanel +
           row * kTransposedRowBytes + (chunk ^ (row / 4 % 2)) * kChunkOfRow;
  }

  // Whether a token before `end` had NaN, which is taken out with kMasked.
  template <bool kMasked>
  STROBE_DEVICE bool run(int32_t stage, int32_t end) const {
    constexpr int kPieces = kDimVo / kPieceElements, kBatch = 2;
    static_assert(!kFp8 || (kBlockTokens == kWatchWarps * kPieceTokens &&
                            kPieceTokens == kTransposedRowBytes && kVoPanels == 1 && kPieces % kBatch == 0));
    const SharedAddress from = source(stage), to = target(stage);
    bool found = false;
#pragma unroll 1
    for (int first = 0; first < kPieces; first += kBatch) {
      uint32_t words[kBatch][4];
#pragma unroll
      for (int i = 0; i < kBatch; ++i)
        load_matrices_transposed(words[i], from ^ static_cast<uint32_t>((first + i) * kChunkOfRow));
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        if (kMasked) {
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            const uint32_t nans = nans_of(words[i][j]);
            const int32_t token = warp * kPieceTokens + 8 * j + lane % 4 * 2;
            found = found || ((nans & 0xffff) != 0 && token < end) || (nans >> 16 != 0 && token + 1 < end);
            words[i][j] = without_nans(words[i][j]);
          }
        }
        const uint32_t rows[4] = {
            __byte_perm(words[i][0], words[i][1], 0x6420), __byte_perm(words[i][0], words[i][1], 0x7531),
            __byte_perm(words[i][2], words[i][3], 0x6420), __byte_perm(words[i][2], words[i][3], 0x7531)};
        store_matrices(to + (first + i) * kPieceElements * kTransposedRowBytes, rows);
      }
    }
    return kMasked && __any_sync(0xffffffff, found);
  }
};

// One of the three warps, for all tiles.
STROBE_DEVICE void transpose_values(char* shared, const Barriers& barriers, int32_t warp, int32_t lane) {
  const Transposer transposer{barriers.base, warp, lane};
  Ring<kQuerySlots> slot;
  Ring<kTileInfos> info;
  Ring<kStages> value;
#pragma unroll 1
  for (;;) {
    wait_for_phase(barriers.query_full(slot.at), slot.phase);
    Tile& tile = tile_info(shared, info.at);
    const int32_t last = tile.last, first = tile.first, end = tile.item.kv_end;
    const int32_t open_begin = tile.open_begin, open_end = tile.open_end;
#pragma unroll 1
    for (int32_t block = last; block >= first; --block) {
      wait_for_phase(barriers.value_copied(value.at), value.phase);
      wait_for_phase(barriers.value_free(value.at), value.phase ^ 1);
      if (block < open_end && block >= open_begin)
        transposer.run<false>(value.at, 0);
      else if (transposer.run<true>(value.at, end - block * kBlockTokens) && lane == 0)
        tile.specials[warp] = 1;
      order_before_async();
      __syncwarp();
      if (lane == 0) {
        arrive(barriers.value_full(value.at));
        arrive(barriers.copy_free(value.at));
      }
      value.advance();
    }
    __syncwarp();
    if (lane == 0) arrive(barriers.query_free(slot.at));
    if (last < 0) return;
    slot.advance();
    info.advance();
  }
}

}  // namespace strobe::kernel
