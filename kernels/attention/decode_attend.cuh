// Attention of a warp's 8 kHeadTiles rows to one KV tile.
//
// The product is transposed so that KV tokens, not query rows, fill the 16 rows of the tensor cores' tiles:
//   S^T[token][row] = K Q^T        A = K by plain matrix loads, B = Q
//   O^T[d][row]    += V^T P^T      A = V^T by transposing matrix loads, B = P^T
// Lane 4 g + c holds rows 2c and 2c+1 of each 8 in both, so that maximum, sum and rescaling stay within a
// lane, and P^T never leaves the registers: transpose_matrix makes an operand of it.
#pragma once

#include "attention/decode_spoilt.cuh"

namespace strobe::kernel {

STROBE_DEVICE float maximum_over_tokens(float x) {
#pragma unroll
  for (int distance = 4; distance < kWarpThreads; distance *= 2)
    x = fmaxf(x, __shfl_xor_sync(0xffffffff, x, distance));
  return x;
}

STROBE_DEVICE float sum_over_tokens(float x) {
#pragma unroll
  for (int distance = 4; distance < kWarpThreads; distance *= 2)
    x += __shfl_xor_sync(0xffffffff, x, distance);
  return x;
}

// Two chains of sums for every score: one warp is bound by the product's latency, not its rate.
STROBE_DEVICE void multiply_keys(const Queries& queries, SharedAddress tile, Scores& s) {
  const int lane = lane_of_warp();
  constexpr int kLoadSteps = kFp8 ? 2 : 1;  // that four matrices cover
  Scores odd = {};
#pragma unroll
  for (int step = 0; step < kQuerySteps; step += kLoadSteps)
#pragma unroll
    for (int r = 0; r < kRowTiles; ++r) {
      uint32_t words[4];
      const int chunk = kFp8 ? min(step + lane / 16, KRow::kChunks - 1) : step * 2 + lane / 16;
      load_matrices(words, tile + KRow::offset(r * 16 + lane % 16, chunk));
#pragma unroll
      for (int sub = 0; sub < kLoadSteps && step + sub < kQuerySteps; ++sub) {
        uint32_t keys[4];
        if constexpr (kFp8) {
          f16_pairs_of<kKv>(words[2 * sub], keys[0], keys[2]);
          f16_pairs_of<kKv>(words[2 * sub + 1], keys[1], keys[3]);
        } else {
#pragma unroll
          for (int i = 0; i < 4; ++i) keys[i] = words[i];
        }
#pragma unroll
        for (int t = 0; t < kHeadTiles; ++t) {
          const QueryStep query = queries.step(t, step + sub);
          mma_16x8x16<kMma>((step + sub) % 2 ? odd[r][t] : s[r][t], keys, query.word[0], query.word[1]);
        }
      }
    }
#pragma unroll
  for (int r = 0; r < kRowTiles; ++r)
#pragma unroll
    for (int t = 0; t < kHeadTiles; ++t)
#pragma unroll
      for (int i = 0; i < 4; ++i) s[r][t][i] += odd[r][t][i];
}

// Raises the reference where a weight would pass 2^kMost: rare after the first tile.
STROBE_DEVICE void follow_maximum(RowState& state, const Scores& s) {
  float highest[kHeadTiles][2];
  bool outgrown = false;
#pragma unroll
  for (int t = 0; t < kHeadTiles; ++t)
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      highest[t][i] = minus_infinity();
#pragma unroll
      for (int r = 0; r < kRowTiles; ++r)
        highest[t][i] = fmaxf(highest[t][i], fmaxf(s[r][t][i], s[r][t][i + 2]));
      outgrown |= highest[t][i] > state.reference[t][i] + kMost;
    }
  if (!__any_sync(0xffffffff, outgrown)) return;
#pragma unroll
  for (int t = 0; t < kHeadTiles; ++t)
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float reference = fmaxf(state.reference[t][i], maximum_over_tokens(highest[t][i]) - kTop);
      const float shrink = exp2_approx(state.reference[t][i] - reference);
      state.reference[t][i] = reference;
      state.sum[t][i] *= shrink;
#pragma unroll
      for (int step = 0; step < kOutputSteps; ++step) {
        state.o[t][step][i] *= shrink;
        state.o[t][step][i + 2] *= shrink;
      }
    }
}

// O^T += V^T P^T for 16 tokens.
STROBE_DEVICE void multiply_values(RowState& state, const uint32_t (&weights)[kHeadTiles][2],
                                   SharedAddress tile, int first_row) {
#pragma unroll
  for (int step = 0; step < kOutputSteps; step += kValueSteps) {
    uint32_t values[kValueSteps][4];
    load_values(values, tile, first_row, step);
#pragma unroll
    for (int sub = 0; sub < kValueSteps && step + sub < kOutputSteps; ++sub)
#pragma unroll
      for (int t = 0; t < kHeadTiles; ++t)
        mma_16x8x16<kMma>(state.o[t][step + sub], values[sub], weights[t][0], weights[t][1]);
  }
}

// One tile: `rows_left` of its tokens count, which are kv, kv + 1, … of the request; the rest are zero rows.
STROBE_DEVICE void attend_tile(const AttentionParams& p, const Queries& queries, const ItemMask& mask,
                               RowState& state, char* slot, int kv, int rows_left) {
  Scores s = {};
  const SharedAddress k_tile = shared_address(slot), v_tile = k_tile + KRow::kTileBytes;
  multiply_keys(queries, k_tile, s);
  const bool masked = to_logits(p, queries, mask, s, kv, rows_left);
  follow_maximum(state, s);
#pragma unroll
  for (int r = 0; r < kRowTiles; ++r)
#pragma unroll
    for (int t = 0; t < kHeadTiles; ++t)
#pragma unroll
      for (int i = 0; i < 4; ++i) s[r][t][i] = exp2_approx(s[r][t][i] - state.reference[t][i % 2]);
  const bool any_masked = kGeneral && __any_sync(0xffffffff, masked);
#pragma unroll
  for (int r = 0; r < kRowTiles; ++r) {
    uint32_t weights[kHeadTiles][2];
#pragma unroll
    for (int t = 0; t < kHeadTiles; ++t) {
      const float(&w)[4] = s[r][t];
      state.sum[t][0] += w[0] + w[2];
      state.sum[t][1] += w[1] + w[3];
      weights[t][0] = transpose_matrix(pair_of<kMma>(w[0], w[1]));
      weights[t][1] = transpose_matrix(pair_of<kMma>(w[2], w[3]));
    }
    if (any_masked) add_spoilt_rows(state, s[r], weights, slot + KRow::kTileBytes, r * 16);
    multiply_values(state, weights, v_tile, r * 16);
  }
}

}  // namespace strobe::kernel
