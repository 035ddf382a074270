// Rows of queries or keys that change in their tile in shared memory: turned to their positions, or by a
// user's hooks.
//
// What comes of them is rounded to 16 bits for the tensor cores, which would be felt in a logit. Hence two
// tiles: the rounded numbers, and what they lack, rounded. Of the four products of sums the smallest is left
// out.
#pragma once

#include "attention/rotate.h"
#include "ptx/shuffle.h"

namespace strobe::kernel {

struct KeyPlace {
  int32_t token;
};

STROBE_DEVICE int32_t position_of(const ItemRow& row) { return row.position; }
STROBE_DEVICE int32_t position_of(const KeyPlace& key) { return key.token; }

// A row of a tile, as hooks see it.
template <Dtype kType>
struct ElementsOfTile {
  const char* row;
  STROBE_DEVICE float operator[](int32_t i) const { return load_float<kType>(row + i * 2); }
};

template <class AnyHooks, class Elements>
STROBE_DEVICE float changed(AnyHooks& hooks, const Elements& row, int32_t dim, const ItemRow& place,
                            int32_t kv_head) {
  return hooks.query(row, dim, place, kv_head);
}
template <class AnyHooks, class Elements>
STROBE_DEVICE float changed(AnyHooks& hooks, const Elements& row, int32_t dim, const KeyPlace& place,
                            int32_t kv_head) {
  return hooks.key(row, dim, place.token, kv_head);
}

// A warp for each row: hooks see all of it as it was.
template <Dtype kType, int kRows, int kDims, int kThreads, class AnyHooks, class PlaceOf>
STROBE_DEVICE void change_by_hooks(const AttentionParams& params, AnyHooks& hooks, int32_t kv_head,
                                   char* tile, char* rest, PlaceOf place_of) {
  constexpr int kLanePairs = kDims / 2 / kWarpThreads;
  const int32_t lane = static_cast<int32_t>(threadIdx.x) % kWarpThreads;
#pragma unroll 1
  for (int32_t row = static_cast<int32_t>(threadIdx.x) / kWarpThreads; row < kRows;
       row += kThreads / kWarpThreads) {
    const ElementsOfTile<kType> from{tile + row * tile_row_bytes(kDims)};
    const auto place = place_of(row);
    float x[kLanePairs][2];
#pragma unroll
    for (int i = 0; i < kLanePairs; ++i)
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const int32_t dim = (lane + i * kWarpThreads) * 2 + j;
        x[i][j] = dim < params.head_dim_qk ? changed(hooks, from, dim, place, kv_head) : 0.0f;
      }
    __syncwarp();
#pragma unroll
    for (int i = 0; i < kLanePairs; ++i) {
      const int32_t at = row * tile_row_bytes(kDims) + (lane + i * kWarpThreads) * 4;
      store_split<kType>(x[i][0], x[i][1], *reinterpret_cast<uint32_t*>(tile + at),
                         *reinterpret_cast<uint32_t*>(rest + at));
    }
  }
}

// All threads of the block call it; what they write is theirs alone until the next barrier.
template <Dtype kType, int kRows, int kDims, int kThreads, class AnyHooks, class PlaceOf>
STROBE_DEVICE void change_rows(const AttentionParams& params, AnyHooks& hooks, int32_t kv_head, char* tile,
                               char* rest, PlaceOf place_of) {
  if constexpr (AnyHooks::kOfUser)
    change_by_hooks<kType, kRows, kDims, kThreads>(params, hooks, kv_head, tile, rest, place_of);
  else
    rotate_rows<kType, kRows, kDims, kThreads>(params, tile, rest,
                                               [&](int32_t row) { return position_of(place_of(row)); });
}

}  // namespace strobe::kernel
