// Attention in f32 on the CUDA cores. Takes every dtype, head dimension and mask; comes after struct Hooks,
// which says what becomes of q, k, logits and outputs (builtin_hooks.h, variant_hooks.h).
//
// A block does one item for one KV head, or, with a list made for the decode kernel, the items and heads of a
// run; kRows rows at a time. Of each kTokens KV tokens, K and then V lie in
// shared memory as f32. A warp has kWarpRows rows: for the scores a lane is a token;
// for the output it is every 32nd element.
//
// Shared memory, in floats: q [kRows][head_dim_qk], weights [kRows][kTokens], K or V [kTokens][stride], where
// the odd stride spreads a column over the banks.
#pragma once

#include "attention/rows.h"
#include "ptx/dependency.h"
#include "ptx/shuffle.h"
#include "tile/element.h"

namespace strobe::kernel {

constexpr int kThreads = 128, kWarps = 4, kRows = 16, kTokens = 32, kWarpRows = kRows / kWarps;
constexpr int kMostDims = 512, kLaneDims = kMostDims / kWarpThreads;

STROBE_DEVICE float most_of_lanes(float x) {
#pragma unroll
  for (int distance = kWarpThreads / 2; distance > 0; distance /= 2)
    x = fmaxf(x, __shfl_xor_sync(0xffffffff, x, distance));
  return x;
}

// A row in memory as f32.
struct ElementRow {
  const char* row;
  Dtype dtype;
  STROBE_DEVICE float operator[](int32_t i) const { return load_float(row, i, dtype); }
};

// The queries of the rows from `first_row`; those behind the last one are 0.
STROBE_DEVICE void load_queries(const AttentionParams& params, const AttentionItem& item, Hooks& hooks,
                                int32_t kv_head, int32_t first_row, int32_t rows, float* q) {
  const int32_t dims = params.head_dim_qk;
#pragma unroll 1
  for (int32_t row = static_cast<int32_t>(threadIdx.x) / kWarpThreads; row < kRows; row += kWarps) {
    const ItemRow place(params, item, kv_head, min(first_row + row, rows - 1));
    const ElementRow from{params.q + place.offset(item, params.q_stride_token, params.q_stride_head),
                          static_cast<Dtype>(params.q_dtype)};
    const float scale = head_scale(params.q_scales, place.head) * head_scale(params.k_scales, kv_head);
#pragma unroll 1
    for (int32_t i = static_cast<int32_t>(threadIdx.x) % kWarpThreads; i < dims; i += kWarpThreads)
      q[row * dims + i] = first_row + row < rows ? hooks.query(from, i, place, kv_head) * scale : 0;
  }
}

// Rows of K (is_k) or V of `tokens` KV tokens; of the tokens behind them nothing is read.
STROBE_DEVICE void load_rows(const AttentionParams& params, const AttentionItem& item, Hooks& hooks,
                             int32_t kv_head, int32_t first_token, int32_t tokens, bool is_k, float* to,
                             int32_t stride) {
  const int32_t dims = is_k ? params.head_dim_qk : params.head_dim_vo;
  const auto dtype = static_cast<Dtype>(params.kv_dtype);
  const char* cache =
      is_k ? params.k + kv_head * params.k_stride_head : params.v + kv_head * params.v_stride_head;
  const float v_scale = head_scale(params.v_scales, kv_head);
#pragma unroll 1
  for (int32_t t = static_cast<int32_t>(threadIdx.x) / kWarpThreads; t < kTokens; t += kWarps) {
    ElementRow from{cache, dtype};
    if (t < tokens)
      from.row += kv_offset(params, item, first_token + t, is_k ? params.k_stride_page : params.v_stride_page,
                            is_k ? params.k_stride_token : params.v_stride_token);
#pragma unroll 1
    for (int32_t i = static_cast<int32_t>(threadIdx.x) % kWarpThreads; i < dims; i += kWarpThreads)
      to[t * stride + i] = t >= tokens ? 0
                           : is_k      ? hooks.key(from, i, first_token + t, kv_head)
                                       : from[i] * v_scale;
  }
}

// A row's running softmax, the same in all lanes, and this lane's elements of its output.
struct RowState {
  float maximum, sum;
  float out[kLaneDims];
};

// Of a token that a row does not attend to.
STROBE_DEVICE float nothing_weighed() { return Hooks::kSoftmax ? minus_infinity() : 0.0f; }

// What a row and this lane's token have to do with each other: a base-2 logit, or without softmax a weight.
STROBE_DEVICE float logit_of(const AttentionParams& params, const AttentionItem& item, Hooks& hooks,
                             int32_t kv_head, const ItemRow& row, int32_t token, float product) {
  const TokenRange range = attended(params, item, row.position);
  if (token < range.begin || token >= range.end || !mask_allows(params, item, row.token, token))
    return nothing_weighed();
  return hooks.logit(row, kv_head, token, product);
}

// Adds the tile's tokens to the softmax: this lane's logit becomes what its token weighs.
STROBE_DEVICE void score_row(RowState& state, float* own) {
  if constexpr (!Hooks::kSoftmax) return;
  const float logit = *own;
  const float maximum = fmaxf(state.maximum, most_of_lanes(logit));
  const float reference = maximum == minus_infinity() ? 0.0f : maximum;
  const float weight = logit == minus_infinity() ? 0.0f : exp2f(logit - reference);
  const float shrink = exp2f(state.maximum - reference);
  state.maximum = maximum;
  state.sum = state.sum * shrink + sum_of_lanes<kWarpThreads>(weight);
#pragma unroll
  for (float& x : state.out) x *= shrink;
  *own = weight;
}

// A part of a row: normalised over its KV, or without softmax as it is.
STROBE_DEVICE void finish_part(const AttentionParams& params, const AttentionItem& item, int32_t kv_head,
                               int32_t row, const float* out, float maximum, float sum) {
  const int64_t partial =
      static_cast<int64_t>(item.slot + kv_head - item.kv_head) * params.partial_rows + row;
  const int32_t lane = static_cast<int32_t>(threadIdx.x) % kWarpThreads;
  const float factor = !Hooks::kSoftmax ? 1.0f : sum == 0 ? 0.0f : 1.0f / sum;
#pragma unroll 1
  for (int32_t i = lane; i < params.head_dim_vo; i += kWarpThreads)
    params.partial_out[partial * params.head_dim_vo + i] = out[i] * factor;
  if (lane == 0) params.partial_lse[partial] = sum == 0 ? minus_infinity() : maximum + log2f(sum);
}

// A row's results from shared memory: its sums of weighted v, the maximum of its logits, the sum of its
// weights.
STROBE_DEVICE void finish_row(const AttentionParams& params, const AttentionItem& item, Hooks& hooks,
                              int32_t kv_head, int32_t row, const float* out, float maximum, float sum) {
  if (item.slot >= 0) return finish_part(params, item, kv_head, row, out, maximum, sum);
  const ItemRow place(params, item, kv_head, row);
  const auto end = hooks.end(place, kv_head, maximum, sum);
  const int32_t lane = static_cast<int32_t>(threadIdx.x) % kWarpThreads;
  const auto dtype = static_cast<Dtype>(params.out_dtype);
  char* to = params.out + place.offset(item, params.out_stride_token, params.out_stride_head);
#pragma unroll 1
  for (int32_t i = lane; i < params.head_dim_vo; i += kWarpThreads)
    store_float(to + i * size_of(dtype), dtype, end.value(out[i], i));
  if (lane == 0 && params.lse != nullptr)
    *reinterpret_cast<float*>(reinterpret_cast<char*>(params.lse) +
                              place.offset(item, params.lse_stride_token, params.lse_stride_head)) = end.lse;
}

// kRows rows of the item from `first_row`.
STROBE_DEVICE void attend_rows(const AttentionParams& params, const AttentionItem& item, Hooks& hooks,
                               int32_t kv_head, int32_t first_row, int32_t rows, float* shared) {
  const int32_t dims = params.head_dim_qk, out_dims = params.head_dim_vo;
  const int32_t stride = max(dims, out_dims) | 1;
  float* q = shared;
  float* weights = q + kRows * dims;
  float* tile = weights + kRows * kTokens;
  const int32_t warp_row = static_cast<int32_t>(threadIdx.x) / kWarpThreads * kWarpRows;
  const int32_t lane = static_cast<int32_t>(threadIdx.x) % kWarpThreads;
  load_queries(params, item, hooks, kv_head, first_row, rows, q);
  RowState state[kWarpRows];
#pragma unroll
  for (RowState& row : state) {
    row.maximum = minus_infinity();
    row.sum = 0;
#pragma unroll
    for (float& x : row.out) x = 0;
  }
  for (int32_t first = item.kv_begin; first < item.kv_end; first += kTokens) {
    const int32_t tokens = min(kTokens, item.kv_end - first);
    load_rows(params, item, hooks, kv_head, first, tokens, true, tile, stride);
    __syncthreads();
    float product[kWarpRows] = {};
#pragma unroll 2
    for (int32_t i = 0; i < dims; ++i) {
      const float k = tile[lane * stride + i];
#pragma unroll
      for (int row = 0; row < kWarpRows; ++row) product[row] += q[(warp_row + row) * dims + i] * k;
    }
    float* own = weights + warp_row * kTokens + lane;
#pragma unroll
    for (int row = 0; row < kWarpRows; ++row) own[row * kTokens] = product[row];
#pragma unroll 1
    for (int row = 0; row < kWarpRows; ++row) {
      if (first_row + warp_row + row >= rows) {  // nobody's: hooks do not see it
        own[row * kTokens] = nothing_weighed();
        continue;
      }
      const ItemRow place(params, item, kv_head, first_row + warp_row + row);
      own[row * kTokens] = logit_of(params, item, hooks, kv_head, place, first + lane, own[row * kTokens]);
    }
#pragma unroll
    for (int row = 0; row < kWarpRows; ++row) score_row(state[row], own + row * kTokens);
    __syncthreads();
    load_rows(params, item, hooks, kv_head, first, tokens, false, tile, stride);
    __syncthreads();
#pragma unroll 1
    for (int32_t t = 0; t < tokens; ++t) {
      float weight[kWarpRows];
#pragma unroll
      for (int row = 0; row < kWarpRows; ++row) weight[row] = weights[(warp_row + row) * kTokens + t];
#pragma unroll
      for (int j = 0; j < kLaneDims; ++j) {
        if (j * kWarpThreads >= out_dims) break;
        const float v = j * kWarpThreads + lane < out_dims ? tile[t * stride + j * kWarpThreads + lane] : 0;
#pragma unroll
        for (int row = 0; row < kWarpRows; ++row)  // a token that is masked may hold anything, NaN too
          if (weight[row] != 0) state[row].out[j] += weight[row] * v;
      }
    }
    __syncthreads();
  }
  // Through shared memory: a loop over registers would be long code.
#pragma unroll
  for (int row = 0; row < kWarpRows; ++row) {
    float* to = tile + (warp_row + row) * out_dims;
#pragma unroll
    for (int j = 0; j < kLaneDims; ++j)
      if (j * kWarpThreads + lane < out_dims) to[j * kWarpThreads + lane] = state[row].out[j];
    if (lane == 0) {
      weights[(warp_row + row) * 2] = state[row].maximum;
      weights[(warp_row + row) * 2 + 1] = state[row].sum;
    }
  }
  __syncthreads();
#pragma unroll 1
  for (int32_t row = warp_row; row < warp_row + kWarpRows && first_row + row < rows; ++row)
    finish_row(params, item, hooks, kv_head, first_row + row, tile + row * out_dims, weights[row * 2],
               weights[row * 2 + 1]);
  __syncthreads();
}

STROBE_DEVICE void attend_item(const AttentionParams& params, const AttentionItem& item, Hooks& hooks,
                               int32_t kv_head, float* shared) {
  const int32_t rows = item.q_tokens * static_cast<int32_t>(params.group.value);
  for (int32_t row = 0; row < rows; row += kRows)
    attend_rows(params, item, hooks, kv_head, row, rows, shared);
}

}  // namespace strobe::kernel
