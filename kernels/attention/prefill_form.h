// The form of the prefill kernel's tiles, which follows from its constants: the host sizes shared memory by
// it.
#pragma once

#include "tile/dtype.h"

namespace strobe::kernel {

// KV tokens of a tile, and tiles in shared memory: one is computed on while the other is on its way.
STROBE_DEVICE constexpr int prefill_tile_tokens(int tile_qk) { return tile_qk > 256 ? 16 : 32; }
STROBE_DEVICE constexpr int prefill_stages(int tile_qk) { return tile_qk > 256 ? 1 : 2; }

// Q, then the stages of K and V.
STROBE_DEVICE constexpr int prefill_shared_bytes(int tile_rows, int tile_qk, int tile_vo) {
  return 2 *
         (tile_rows * tile_qk + prefill_stages(tile_qk) * prefill_tile_tokens(tile_qk) * (tile_qk + tile_vo));
}

}  // namespace strobe::kernel
