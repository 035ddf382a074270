// The form of the prefill kernel's tiles, which follows from its constants: the host sizes shared memory by
// it.
#pragma once

#include "tile/dtype.h"

namespace strobe::kernel {

// KV tokens of a tile; masks and transforms of many would be long code. And tiles in shared memory: one is
// computed on while the other is on its way.
STROBE_DEVICE constexpr int prefill_tile_tokens(int tile_qk, bool general) {
  return tile_qk <= 64 && !general ? 64 : tile_qk <= 256 ? 32 : 16;
}
STROBE_DEVICE constexpr int prefill_stages(int tile_qk, bool fp8) {
  return tile_qk > (fp8 ? 128 : 256) ? 1 : 2;
}

// Q, then the stages of K and V, then a tile as an 8-bit cache has it.
STROBE_DEVICE constexpr int prefill_shared_bytes(int tile_rows, int tile_qk, int tile_vo, bool fp8,
                                                 bool general) {
  const int tile = prefill_tile_tokens(tile_qk, general) * (tile_qk + tile_vo);
  return 2 * tile_rows * tile_qk + 2 * prefill_stages(tile_qk, fp8) * tile + (fp8 ? tile : 0);
}

// At most so much static shared memory comes to that: mostly addresses of rows.
STROBE_DEVICE constexpr int prefill_static_bytes(int tile_qk, bool general) {
  return 1024 + 64 * prefill_tile_tokens(tile_qk, general);
}

}  // namespace strobe::kernel
