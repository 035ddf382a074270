// Rows of V as the left operand of O^T = V^T P^T.
#pragma once

#include "attention/decode_state.cuh"
#include "ptx/matrix.h"
#include "ptx/mma.h"

namespace strobe::kernel {

// Steps of 16 output elements that four matrices cover.
constexpr int kValueSteps = kFp8 ? 2 : 1;

// The operands of kValueSteps steps for the 16 rows of a tile from first_row.
STROBE_DEVICE void load_values(uint32_t (&values)[kValueSteps][4], SharedAddress tile, int first_row,
                               int step) {
  const int lane = lane_of_warp();
  // 16-bit: tokens 0-7 at two chunks, then 8-15. fp8: tokens 0-7 and 8-15 at one chunk, then at the next.
  const int row = first_row + (kFp8 ? lane % 16 : lane / 16 * 8 + lane % 8);
  const int chunk = kFp8 ? min(step + lane / 16, VRow::kChunks - 1) : step * 2 + lane / 8 % 2;
  if constexpr (kFp8) {
    uint32_t words[4];
    load_matrices_transposed(words, tile + VRow::offset(row, chunk));
    // A word has two neighbouring elements of two tokens: pairs of tokens are wanted.
#pragma unroll
    for (int sub = 0; sub < kValueSteps; ++sub) {
      f16_pairs_of<kKv>(__byte_perm(words[2 * sub], 0, 0x3120), values[sub][0], values[sub][1]);
      f16_pairs_of<kKv>(__byte_perm(words[2 * sub + 1], 0, 0x3120), values[sub][2], values[sub][3]);
    }
  } else {
    load_matrices_transposed(values[0], tile + VRow::offset(row, chunk));
  }
}

}  // namespace strobe::kernel
