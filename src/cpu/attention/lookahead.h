// Fetching the cache ahead of its use, for the path that is bound by memory.
#pragma once

#include "cpu/attention/kv_rows.h"

namespace strobe::cpu::STROBE_ISA {

// Bytes of rows that are asked for before they are used: more than latency x bandwidth needs, and few enough
// to stay in the first-level cache beside the rows in use. They are asked for row by row: four rows at once
// made decode with pages of 16 a tenth slower.
inline constexpr int kBytesAhead = 14 << 10;

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
  const T* const* at;   // the cursor, within a block of a head
  const T* const* end;  // of that block
  int64_t offset;       // of that head
  int lines;
  int fetched;     // rows asked for and not yet used
  int rows_ahead;  // as many as that should be
  bool used_in_order;
  int segment, block, head;  // where the cursor is
  int heads, block_tokens;
  Segment segments[4];
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

// Puts the cursor on the block and head that its numbers say, or of the next segment that has rows. False:
// there is none.
template <class T>
static bool enter_block(Lookahead<T>* ahead) {
  while (ahead->segment < 4 && ahead->block >= ahead->segments[ahead->segment].count) {
    ++ahead->segment;
    ahead->block = ahead->head = 0;
  }
  if (ahead->segment >= 4) return false;
  const auto& segment = ahead->segments[ahead->segment];
  ahead->at = segment.rows + ahead->block;
  ahead->end = segment.rows + smaller(ahead->block + ahead->block_tokens, segment.count);
  ahead->offset = ahead->head * segment.stride_head;
  ahead->lines = segment.lines;
  return true;
}

template <class T>
__attribute__((noinline)) static bool next_block(Lookahead<T>* ahead) {
  if (ahead->segment >= 4) return false;
  if (++ahead->head == ahead->heads) {
    ahead->head = 0;
    ahead->block += ahead->block_tokens;
  }
  return enter_block(ahead);
}

// `used` rows have been used up: asks for as many more.
template <class T>
STROBE_INLINE void fetch_ahead(Lookahead<T>* ahead, int used) {
  ahead->fetched -= used;
  while (ahead->fetched < ahead->rows_ahead) {
    if (ahead->at == ahead->end && !next_block(ahead)) return;
    fetch_row(reinterpret_cast<const char*>(*ahead->at + ahead->offset), ahead->lines, ahead->used_in_order);
    ++ahead->at;
    ++ahead->fetched;
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
  if (ahead->segment == 2 || ahead->segment == 3) {
    ahead->segment -= 2;
    return;
  }
  ahead->segment = ahead->segment >= 4 ? 2 : 0;
  ahead->block = ahead->head = 0;
  if (!enter_block(ahead)) ahead->at = ahead->end = nullptr;
}

}  // namespace strobe::cpu::STROBE_ISA
