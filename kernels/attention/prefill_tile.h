// Attention of a warp's rows to one KV tile, in registers. For kernels with the constants of
// prefill_block.h, behind their Hooks.
//
// Lane 4 g + c holds, of the 16 rows of tile t, rows g and g + 8; of a group of 8 columns (tokens of the
// scores, elements of the output) columns 2c and 2c + 1.
#pragma once

#include "attention/kv_tile.h"
#include "attention/prefill_form.h"
#include "attention/row_sums.h"
#include "ptx/exponent.h"

namespace strobe::kernel {

constexpr int kThreads = 128, kWarps = 4;
constexpr int kStages = prefill_stages(kTileQk, kFp8);
constexpr int kCacheBytes = kFp8 ? 1 : 2;  // of an element
// Rows of tokens are found for two tiles at a time.
constexpr int kGroupTiles = 2, kGroupTokens = kGroupTiles * kTileTokens;
static_assert(kGroupTokens <= kThreads);
constexpr int kRowTiles = kTileRows / (16 * kWarps);
constexpr int kTokenGroups = kTileTokens / 8, kVoGroups = kTileVo / 8;
constexpr int kTileWords = (kTileTokens + 31) / 32;  // of a bit for each token
constexpr int kWordGroups = kTokenGroups / kTileWords;
// Weights may grow to 2^kSlack before the maximum follows; 16-bit floats keep their precision there.
constexpr float kSlack = 8.0f;

using QueryPlaces = MatrixPlaces<kTileQk, true>;
using KeyPlaces = MatrixPlaces<kTileQk, false>;
using ValuePlaces = MatrixPlaces<kTileVo, true>;
using Scores = float[kRowTiles][kTokenGroups][4];
using Weights = uint32_t[kRowTiles][kTileTokens / 16][4];  // as operands
using Outputs = float[kRowTiles][kVoGroups][4];

// The tokens that any of the block's rows, or of a warp's, attends to. And its tiles: their number, and those
// [whole_begin, whole_end) to all of whose tokens all rows attend.
struct TileRanges {
  TokenRange block, warp[kWarps];
  int32_t tiles, whole_begin, whole_end;
};

// A row of the block: where it is, and what position masks and the item leave to it. Behind the item's last
// row there is nothing to see.
struct alignas(16) TileRow {
  TokenRange range;
  int32_t position, head;
};

// What a block does, in shared memory: there are few registers.
struct Shared {
  AttentionItem item;
  int32_t rows;       // of the item
  int32_t first_row;  // of those that the block is at
  TileRanges ranges;
  TileRow row[kTileRows];
  // Bits of the custom mask, for tiles of even and of odd number; behind the mask's end anything.
  uint32_t mask[2][kTileWords][kTileRows];
  TokenRows<kGroupTokens> tokens[2];        // of the groups of tiles of even and of odd number
  int32_t special[kTileTokens];             // whether a token's v holds NaN or Inf
  uint32_t visible[kTileWords][kTileRows];  // note_visible: the tokens that a row attends to
};

static_assert(sizeof(Shared) <= prefill_static_bytes(kTileRows, kTileTokens));

// A lane's rows: [tile][half], row g + 8 half of the tile.
struct RowStates {
  float reference[kRowTiles][2];  // what exponents are relative to, in units of the scores
  RowSums<kType, kRowTiles, kExactSums> sums;
};

STROBE_DEVICE int32_t kv_head_of_block() { return static_cast<int32_t>(blockIdx.y); }
// Of v and the output, the elements that the block does.
STROBE_DEVICE int32_t first_dim_of_block() { return static_cast<int32_t>(blockIdx.z) * kTileVo; }
STROBE_DEVICE int32_t dims_of_block(const AttentionParams& params) {
  return min(kTileVo, params.head_dim_vo - first_dim_of_block());
}
STROBE_DEVICE int32_t lane_of_thread() { return static_cast<int32_t>(threadIdx.x) % kWarpThreads; }
STROBE_DEVICE int32_t first_row_of_warp() {
  return static_cast<int32_t>(threadIdx.x) / kWarpThreads * (16 * kRowTiles);
}
// Of the block's rows.
STROBE_DEVICE int32_t place_of_lane(int tile, int half) {
  return first_row_of_warp() + tile * 16 + half * 8 + lane_of_thread() / 4;
}
// Of the item; those behind its last row are numbers, too.
STROBE_DEVICE int32_t row_of_lane(const Shared& shared, int tile, int half) {
  return shared.first_row + place_of_lane(tile, half);
}
STROBE_DEVICE ItemRow place_of_row(const AttentionParams& params, const Shared& shared, int32_t row) {
  return ItemRow(params, shared.item, kv_head_of_block(), min(row, shared.rows - 1));
}

// Over the four lanes that share a row.
STROBE_DEVICE float most_of_row(float x) {
  x = fmaxf(x, __shfl_xor_sync(0xffffffff, x, 1));
  return fmaxf(x, __shfl_xor_sync(0xffffffff, x, 2));
}

STROBE_DEVICE void clear(RowStates& state, Outputs& out) {
  state.sums.clear();
#pragma unroll
  for (int t = 0; t < kRowTiles; ++t) {
#pragma unroll
    for (int half = 0; half < 2; ++half) state.reference[t][half] = minus_infinity();
#pragma unroll
    for (int d = 0; d < kVoGroups; ++d)
#pragma unroll
      for (int i = 0; i < 4; ++i) out[t][d][i] = 0;
  }
}

// Scores become the products, or with kMore are increased by them.
template <bool kMore>
STROBE_DEVICE void multiply_q_k(const QueryPlaces& q, const KeyPlaces& k, Scores& scores) {
  // Unrolling all of the largest heads would take too many registers.
#pragma unroll(kTileQk > 256 ? 4 : kTileQk / 16)
  for (int step = 0; step < kTileQk / 16; ++step) {
    uint32_t rows[kRowTiles][4];
#pragma unroll
    for (int t = 0; t < kRowTiles; ++t) load_matrices(rows[t], q.at(t * 16, step));
#pragma unroll
    for (int n = 0; n < kTokenGroups; n += 2) {
      uint32_t tokens[4];
      load_matrices(tokens, k.at(n * 8, step));
#pragma unroll
      for (int t = 0; t < kRowTiles; ++t) {
        if (!kMore && step == 0) {
          mma_16x8x16_first<kType>(scores[t][n], rows[t], tokens[0], tokens[1]);
          mma_16x8x16_first<kType>(scores[t][n + 1], rows[t], tokens[2], tokens[3]);
        } else {
          mma_16x8x16<kType>(scores[t][n], rows[t], tokens[0], tokens[1]);
          mma_16x8x16<kType>(scores[t][n + 1], rows[t], tokens[2], tokens[3]);
        }
      }
    }
  }
}

STROBE_DEVICE void multiply_p_v(const Weights& weights, const ValuePlaces& v, RowStates& state,
                                Outputs& out) {
#pragma unroll
  for (int step = 0; step < kTileTokens / 16; ++step) {
#pragma unroll
    for (int t = 0; t < kRowTiles; ++t) state.sums.add_rounded(t, weights[t][step]);
#pragma unroll
    for (int d = 0; d < kVoGroups; d += 2) {
      uint32_t elements[4];
      load_matrices_transposed(elements, v.at(step * 16, d / 2));
#pragma unroll
      for (int t = 0; t < kRowTiles; ++t) {
        mma_16x8x16<kType>(out[t][d], weights[t][step], elements[0], elements[1]);
        mma_16x8x16<kType>(out[t][d + 1], weights[t][step], elements[2], elements[3]);
      }
    }
  }
}

// Raises the references where a weight would pass 2^kSlack: rare after the first tile.
STROBE_DEVICE void follow_maxima(const Scores& scores, float scale, RowStates& state, Outputs& out) {
  if constexpr (!Hooks::kSoftmax) return;
  float most[kRowTiles][2];
  bool outgrown = false;
#pragma unroll
  for (int t = 0; t < kRowTiles; ++t)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float x = minus_infinity();
#pragma unroll
      for (int n = 0; n < kTokenGroups; ++n)
        x = fmaxf(x, fmaxf(scores[t][n][half * 2], scores[t][n][half * 2 + 1]));
      most[t][half] = x;
      outgrown = outgrown || (x - state.reference[t][half]) * scale > kSlack;
    }
  if (!__any_sync(0xffffffff, outgrown)) return;
#pragma unroll
  for (int t = 0; t < kRowTiles; ++t)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float highest = fmaxf(state.reference[t][half], most_of_row(most[t][half]));
      // Nothing seen yet: exponents of -inf relative to -inf would be NaN.
      const float shrink =
          highest == minus_infinity() ? 1.0f : exp2_approx((state.reference[t][half] - highest) * scale);
      state.reference[t][half] = highest;
      state.sums.scale(t, half, shrink);
#pragma unroll
      for (int d = 0; d < kVoGroups; ++d) {
        out[t][d][half * 2] *= shrink;
        out[t][d][half * 2 + 1] *= shrink;
      }
    }
}

// Scores become weights; without softmax they are.
STROBE_DEVICE void weigh(const Scores& scores, float scale, RowStates& state, Weights& weights) {
#pragma unroll
  for (int t = 0; t < kRowTiles; ++t)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      if constexpr (!Hooks::kSoftmax) {
#pragma unroll
        for (int n = 0; n < kTokenGroups; ++n)
          weights[t][n / 2][n % 2 * 2 + half] =
              pair_of<kType>(scores[t][n][half * 2], scores[t][n][half * 2 + 1]);
        continue;
      }
      const float reference = state.reference[t][half];
      const float offset = reference == minus_infinity() ? 0.0f : reference * scale;
      float sum = 0;
#pragma unroll
      for (int n = 0; n < kTokenGroups; ++n) {
        const float first = exp2_approx(fmaf(scores[t][n][half * 2], scale, -offset));
        const float second = exp2_approx(fmaf(scores[t][n][half * 2 + 1], scale, -offset));
        sum += first + second;
        weights[t][n / 2][n % 2 * 2 + half] = pair_of<kType>(first, second);
      }
      state.sums.add(t, half, sum);
    }
}

}  // namespace strobe::kernel
