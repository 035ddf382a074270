// The form of the prefill kernel's tiles, which follows from its constants: the host sizes shared memory by
// it.
#pragma once

#include "tile/dtype.h"

namespace strobe::kernel {

// How rows of Q, K and V come into shared memory.
enum class RowForm : int {
  kCopied,   // in chunks of 16 bytes, to which they are aligned
  kChanged,  // and Q or K are changed there: turned to their positions (RoPE on the fly), or by a variant's
             // hooks
  kLoaded,   // element by element
};

// Tiles in shared memory: one is computed on while the other is on its way.
STROBE_DEVICE constexpr int prefill_stages(int tile_qk, bool fp8) {
  return tile_qk > (fp8 ? 128 : 256) ? 1 : 2;
}

// Q, then the stages of K and V, then a tile as an 8-bit cache has it, then what changed Q and K lack. A row
// has 16 bytes of nothing behind it.
STROBE_DEVICE constexpr int prefill_shared_bytes(int tile_rows, int tile_qk, int tile_vo, int tile_tokens,
                                                 bool fp8, RowForm form) {
  const int qk_row = 2 * tile_qk + 16, vo_row = 2 * tile_vo + 16;
  const int tiles = tile_rows * qk_row + prefill_stages(tile_qk, fp8) * tile_tokens * (qk_row + vo_row);
  const int raw = fp8 && form != RowForm::kLoaded ? tile_tokens * (tile_qk + tile_vo) : 0;
  const int rest = form == RowForm::kChanged ? (tile_rows + tile_tokens) * qk_row : 0;
  return tiles + raw + rest;
}

// At most so much static shared memory comes to that: places of rows, masks and addresses of tokens.
STROBE_DEVICE constexpr int prefill_static_bytes(int tile_rows, int tile_tokens) {
  return 192 + tile_rows * (16 + (tile_tokens > 32 ? 24 : 12)) + 68 * tile_tokens;
}

// Blocks of an SM that the registers are shared out for.
STROBE_DEVICE constexpr int prefill_blocks_per_sm(int tile_rows, int tile_vo) {
  return tile_rows == 64 && tile_vo <= 128 ? 3 : 2;
}

}  // namespace strobe::kernel
