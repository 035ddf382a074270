// RoPE on rows that lie in a tile in shared memory. What becomes of them is two tiles, as change_rows.h says.
#pragma once

#include "attention/kv_tile.h"
#include "rope/cos_sin.h"

namespace strobe::kernel {

STROBE_DEVICE float2 turned(float x, float y, float2 turn) {
  return {x * turn.x - y * turn.y, y * turn.x + x * turn.y};
}

// A word of two numbers, and one of what it lacks.
template <Dtype kType>
STROBE_DEVICE void store_split(float first, float second, uint32_t& word, uint32_t& rest) {
  word = pair_of<kType>(first, second);
  float a, b;
  floats_of<kType>(word, a, b);
  rest = pair_of<kType>(first - a, second - b);
}

// Pairs 2w and 2w + 1 of a row lie in two words: neighbours if pairs are neighbouring elements, else word w
// of either half.
template <Dtype kType>
STROBE_DEVICE void rotate_pairs(uint32_t* row, uint32_t* rest, int32_t w, int32_t half, bool interleave,
                                float2 first, float2 second) {
  const int32_t a = interleave ? 2 * w : w, b = interleave ? 2 * w + 1 : half / 2 + w;
  float a0, a1, b0, b1;
  floats_of<kType>(row[a], a0, a1);
  floats_of<kType>(row[b], b0, b1);
  const float2 p = turned(a0, interleave ? a1 : b0, first), q = turned(interleave ? b0 : a1, b1, second);
  store_split<kType>(p.x, interleave ? p.y : q.x, row[a], rest[a]);
  store_split<kType>(interleave ? q.x : p.y, q.y, row[b], rest[b]);
}

// Turns the rows of a tile, each to its position: position_of(row); the tile `rest` gets what they lack, and
// 0 behind head_dim_qk. All threads of the block call it; what they write is theirs alone until the next
// barrier.
template <Dtype kType, int kRows, int kDims, int kThreads, class PositionOf>
STROBE_DEVICE void rotate_rows(const AttentionParams& params, char* tile, char* rest,
                               PositionOf position_of) {
  constexpr int kLanes = 16;  // of a row
  const int32_t half = params.head_dim_qk / 2, lane = static_cast<int32_t>(threadIdx.x) % kLanes;
  const auto words_of = [](char* of, int32_t row) {
    return reinterpret_cast<uint32_t*>(of + row * tile_row_bytes(kDims));
  };
#pragma unroll 1
  for (int32_t w = lane; w < kDims / 4; w += kLanes) {
    const bool exists = w < half / 2;
    const uint64_t first = exists ? params.rope_turns[2 * w] : 0;
    const uint64_t second = exists ? params.rope_turns[2 * w + 1] : 0;
#pragma unroll 1
    for (int32_t row = static_cast<int32_t>(threadIdx.x) / kLanes; row < kRows; row += kThreads / kLanes) {
      const auto position = static_cast<uint64_t>(position_of(row));
      if (exists)
        rotate_pairs<kType>(words_of(tile, row), words_of(rest, row), w, half, params.rope_interleave != 0,
                            cos_sin_of_turns(static_cast<uint32_t>(first * position >> 32)),
                            cos_sin_of_turns(static_cast<uint32_t>(second * position >> 32)));
      else
        words_of(rest, row)[2 * w] = words_of(rest, row)[2 * w + 1] = 0;
    }
  }
}

}  // namespace strobe::kernel
