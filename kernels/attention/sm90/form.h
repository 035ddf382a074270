// The form of the Hopper prefill kernel's tiles, which follows from its element type and head dims: the host
// sizes its launch by it.
#pragma once

#include "tile/dtype.h"

namespace strobe::kernel {

// Math warpgroups, each with 64 query rows; KV tokens of a block; buffers of K and of V; buffers of queries;
// registers of a thread that loads, and of one that calculates.
struct Sm90Form {
  int groups, block_tokens, stages, query_slots, load_registers, math_registers;
};

// Of e4m3 K and V take half the room, V lies there twice, as it comes and transposed, and beside them lie the
// outputs of long sums.
STROBE_DEVICE constexpr Sm90Form sm90_form(Dtype type, int dim_qk) {
  if (type == Dtype::kE4m3) return {3, 96, 2, 2, 32, 160};
  if (dim_qk <= 64) return {3, 128, 3, 2, 32, 160};
  if (dim_qk <= 128) return {2, 128, 2, 2, 40, 232};
  if (dim_qk <= 192) return {2, 96, 2, 2, 40, 232};
  return {2, 64, 2, 1, 40, 232};
}

// A row's panels are 128 bytes.
STROBE_DEVICE constexpr int sm90_panels(Dtype type, int dim) { return (dim * size_of(type) + 127) / 128; }

// What the loading warp tells of a tile; so many take turns. The math groups read it until they have stored
// the tile's results, when the next tile's queries may be there already.
inline constexpr int kSm90TileInfoBytes = 80;
STROBE_DEVICE constexpr int sm90_tile_infos(Dtype type, int dim_qk) {
  return sm90_form(type, dim_qk).query_slots + 1;
}

// Room for results on their way out by tensor copies. 0: there is none, or they are of any format; they go
// out from registers.
STROBE_DEVICE constexpr int sm90_result_bytes(Dtype type, int dim_qk, int dim_vo) {
  if (size_of(type) == 1 || dim_qk > 128) return 0;
  return sm90_form(type, dim_qk).groups * 64 * 128 * sm90_panels(type, dim_vo);
}

// Whether maps have an axis of panels: not where the last one would reach beyond its row.
STROBE_DEVICE constexpr bool sm90_maps_panels(Dtype type, int dim) { return dim * size_of(type) % 128 == 0; }

STROBE_DEVICE constexpr int sm90_shared_bytes(Dtype type, int dim_qk, int dim_vo) {
  const Sm90Form form = sm90_form(type, dim_qk);
  const bool is_e4m3 = type == Dtype::kE4m3;
  const int query = form.groups * 64 * 128 * sm90_panels(type, dim_qk);
  const int block = form.block_tokens *
                    (128 * (sm90_panels(type, dim_qk) + sm90_panels(type, dim_vo)) + (is_e4m3 ? dim_vo : 0));
  const int kept = is_e4m3 ? form.groups * 64 * dim_vo * 4 : 0;
  const int small = sm90_tile_infos(type, dim_qk) * kSm90TileInfoBytes + form.query_slots * 2 * 8 +
                    form.stages * (is_e4m3 ? 6 : 5) * 8;
  return form.query_slots * query + form.stages * block + kept + sm90_result_bytes(type, dim_qk, dim_vo) +
         small;
}

}  // namespace strobe::kernel
