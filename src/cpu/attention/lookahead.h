// Fetching the cache ahead of its use, for the path that is bound by memory.
#pragma once

#include "cpu/attention/kv_rows.h"

namespace strobe::cpu::STROBE_ISA {

// Bytes of rows that are asked for before they are used: more than latency x bandwidth needs, and few enough
// to stay in the first-level cache beside the rows in use.
inline constexpr int kBytesAhead = 24 << 10;

// A cursor over rows of the cache in the order of their addresses: K of a tile, its V, K and V of the next
// tile; within each, block by block of tokens, all heads of a block. The computation moves it by as many rows
// as it has used up, so that memory is kept evenly busy.
template <class T>
struct Lookahead {
  struct Segment {
    const T* const* rows;  // of the first head
    int count;
    int64_t stride_head;
    int lines;  // of a row
  };
  Segment segments[4];
  int heads, block_tokens;
  int segment, block, head, token;
  int fetched;     // rows asked for and not yet used
  int rows_ahead;  // as many as that should be
  bool used_in_order;
};

// Tokens of a head whose rows follow each other before the next head's.
STROBE_INLINE int tokens_in_order(const AttentionProblem& p) {
  if (p.k_stride_head < p.k_stride_token) return 1;
  return p.page_size > 0 ? smaller(p.page_size, kDirectTokens) : kDirectTokens;
}

// `tokens_at_once` tokens of a head are used before the next head's: where the cache has fewer of them in
// order, rows of that many tokens and all heads wait in the second-level cache.
template <class T>
STROBE_INLINE void begin_lookahead(const AttentionProblem& p, int heads, int tokens_at_once,
                                   Lookahead<T>* ahead) {
  *ahead = {};
  ahead->heads = heads;
  ahead->block_tokens = tokens_in_order(p);
  ahead->used_in_order = ahead->block_tokens >= tokens_at_once;
  ahead->rows_ahead = kBytesAhead / (p.head_dim_qk * static_cast<int>(sizeof(T)));
  if (!ahead->used_in_order) ahead->rows_ahead += heads * tokens_at_once;
}

// One instruction for all lines, not one for each: the processor's own prefetcher goes by the instruction,
// and follows a step of one line.
STROBE_INLINE void fetch_row(const char* row, int lines, bool once) {
  if (once)
    for (int line = 0; line < lines; ++line) prefetch_once(row + line * 64);
  else
    for (int line = 0; line < lines; ++line) prefetch(row + line * 64);
}

template <class T>
STROBE_INLINE void skip_finished(Lookahead<T>* ahead) {
  while (ahead->segment < 4 && ahead->block >= ahead->segments[ahead->segment].count) {
    ++ahead->segment;
    ahead->block = ahead->token = 0;
  }
}

// `used` rows have been used up: asks for as many more.
template <class T>
STROBE_INLINE void fetch_ahead(Lookahead<T>* ahead, int used) {
  ahead->fetched -= used;
  while (ahead->fetched < ahead->rows_ahead && ahead->segment < 4) {
    const auto& segment = ahead->segments[ahead->segment];
    const char* row =
        reinterpret_cast<const char*>(segment.rows[ahead->token] + ahead->head * segment.stride_head);
    fetch_row(row, segment.lines, ahead->used_in_order);
    ++ahead->fetched;
    if (++ahead->token < smaller(ahead->block + ahead->block_tokens, segment.count)) continue;
    if (++ahead->head < ahead->heads) {
      ahead->token = ahead->block;
      continue;
    }
    ahead->head = 0;
    ahead->block = ahead->token;
    skip_finished(ahead);
  }
}

// The tile `now` begins; what has been fetched of it while it was the next one stays so.
template <class T>
STROBE_INLINE void begin_tile(const Item& it, const KvRows<T>& now, const KvRows<T>& next,
                              Lookahead<T>* ahead) {
  const AttentionProblem& p = *it.problem;
  const int k_lines = (p.head_dim_qk * static_cast<int>(sizeof(T)) + 63) / 64;
  const int v_lines = (p.head_dim_vo * static_cast<int>(sizeof(T)) + 63) / 64;
  ahead->segments[0] = {now.k, now.count, p.k_stride_head, k_lines};
  ahead->segments[1] = {now.v, now.count, p.v_stride_head, v_lines};
  ahead->segments[2] = {next.k, next.count, p.k_stride_head, k_lines};
  ahead->segments[3] = {next.v, next.count, p.v_stride_head, v_lines};
  ahead->segment = larger(ahead->segment - 2, 0);
  skip_finished(ahead);
}

}  // namespace strobe::cpu::STROBE_ISA
