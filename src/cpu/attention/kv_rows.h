// Where the K and V rows of a range of tokens lie.
#pragma once

#include "cpu/attention/item.h"

namespace strobe::cpu::STROBE_ISA {

// One side (K or V) of the cache for a request and KV head.
template <class T>
struct KvSide {
  const T* base;
  int64_t stride_page, stride_token;
};

template <class T>
STROBE_INLINE KvSide<T> k_side(const Item& it) {
  const AttentionProblem& p = *it.problem;
  return {static_cast<const T*>(p.k) + it.kv_head * p.k_stride_head, p.k_stride_page, p.k_stride_token};
}
template <class T>
STROBE_INLINE KvSide<T> v_side(const Item& it) {
  const AttentionProblem& p = *it.problem;
  return {static_cast<const T*>(p.v) + it.kv_head * p.v_stride_head, p.v_stride_page, p.v_stride_token};
}

// The row of one token.
template <class T>
STROBE_INLINE const T* kv_row(const Item& it, const KvSide<T>& side, int token) {
  const AttentionProblem& p = *it.problem;
  const int32_t first = p.kv_indptr[it.item->request];
  if (p.page_size <= 0) return side.base + (first + static_cast<int64_t>(token)) * side.stride_token;
  const int32_t page = p.kv_indices[first + token / p.page_size];
  return side.base + page * side.stride_page + token % p.page_size * side.stride_token;
}

template <class T>
struct KvRows {
  const T* k[kTiledTokens];
  const T* v[kTiledTokens];
  int count;
};

// The rows of tokens [begin, end), then the last one again up to a multiple of kLanes (whose results are
// never used).
template <class T>
static void gather_rows(const Item& it, int begin, int end, KvRows<T>* rows) {
  const AttentionProblem& p = *it.problem;
  const KvSide<T> k = k_side<T>(it), v = v_side<T>(it);
  const int run_limit = p.page_size > 0 ? p.page_size : end - begin;
  rows->count = larger(end - begin, 0);
  for (int i = 0; i < rows->count;) {
    const int token = begin + i;
    const int in_page = p.page_size > 0 ? token % p.page_size : 0;
    const int run = smaller(run_limit - in_page, rows->count - i);
    const T* k_row = kv_row(it, k, token);
    const T* v_row = kv_row(it, v, token);
    for (int j = 0; j < run; ++j, ++i, k_row += k.stride_token, v_row += v.stride_token) {
      rows->k[i] = k_row;
      rows->v[i] = v_row;
    }
  }
  if (rows->count == 0) return;
  for (int i = rows->count; i < round_up(rows->count, kLanes); ++i) {
    rows->k[i] = rows->k[rows->count - 1];
    rows->v[i] = rows->v[rows->count - 1];
  }
}

}  // namespace strobe::cpu::STROBE_ISA
