// The path for few rows (decode): K and V are read once, in place. Scores by dot products along the head dim
// and a transposing reduction; output by broadcast probabilities. Bound by memory: all KV heads of the item
// advance together, so that the cache is read in the order of its addresses whichever its layout
// (lookahead.h).
#pragma once

#include "cpu/attention/lookahead.h"
#include "cpu/attention/pack.h"
#include "cpu/attention/rope.h"
#include "cpu/attention/softmax.h"
#include "cpu/attention/tile_gemm.h"

namespace strobe::cpu::STROBE_ISA {

inline constexpr int kDirectChunk = 4;  // rows that share the registers

// Tokens whose dot products with kRows rows fill a square of kLanes accumulators, which one transposing
// reduction sums.
template <int kRows>
inline constexpr int kTokensTogether = kLanes / (kRows > 2 ? 4 : kRows);

// Scores of kRows rows against tokens [begin, end) of a tile, multiples of kLanes.
template <class Engine, int kRows, class K, class Cached>
static void direct_scores(const Item& it, int row, const K* const* k, int64_t offset, int begin, int end,
                          Lookahead<Cached>* ahead) {
  constexpr int kElements = kLanes * Engine::kPerWord, kTokens = kTokensTogether<kRows>;
  const int width = it.problem->head_dim_qk, q_stride = it.q_stride;
  const uint32_t* q = it.scratch.q + row * q_stride;
  for (int t = begin; t < end; t += kTokens) {
    F32 dots[kLanes] = {};  // [row][token]
    for (int column = 0; column < width; column += kElements) {
      U32 words[kTokens];
#pragma GCC unroll 16
      for (int j = 0; j < kTokens; ++j) words[j] = row_words<Engine>(k[t + j] + offset, column, width);
#pragma GCC unroll 4
      for (int i = 0; i < kRows; ++i) {
        U32 qv;
        __builtin_memcpy(&qv, q + i * q_stride + column / Engine::kPerWord, sizeof qv);
#pragma GCC unroll 16
        for (int j = 0; j < kTokens; ++j)
          dots[i * kTokens + j] = Engine::step(dots[i * kTokens + j], qv, words[j]);
      }
    }
    if (ahead != nullptr) fetch_ahead(ahead, kTokens);
    const F32 scores = reduce_each<Add>(dots) * it.scale;
    const char* bytes = reinterpret_cast<const char*>(&scores);
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i)
      __builtin_memcpy(it.scratch.s + (row + i) * kTiledTokens + t, bytes + i * kTokens * sizeof(float),
                       kTokens * sizeof(float));
  }
}

// Output columns [column, column + kLoads * kLanes * kPerWord) of kRows rows, from tokens [begin, end) of a
// tile. This is number `pass` of `passes` over them.
template <class Engine, int kRows, int kLoads, class T>
static void direct_output(const Item& it, int row, int column, const T* const* v, int64_t offset, int begin,
                          int end, int pass, int passes, Lookahead<T>* ahead) {
  constexpr int kPerWord = Engine::kPerWord, kPStride = kTiledTokens / kPerWord, kVectors = kLoads * kPerWord;
  const int width = it.problem->head_dim_vo, o_stride = it.o_stride;
  const uint32_t* p = it.scratch.p + row * kPStride;
  float* o = it.scratch.o + row * o_stride + column;
  F32 acc[kRows][kVectors];
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) {
    const float factor = begin == 0 ? it.scratch.factor[row + i] : 1;
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) acc[i][j] = load(o + i * o_stride + j * kLanes) * factor;
  }
  int due = pass;
  for (int t = begin; t < end; t += kPerWord) {
    U32 words[kLoads][kPerWord];
#pragma GCC unroll 4
    for (int j = 0; j < kLoads; ++j) {
#pragma GCC unroll 2
      for (int i = 0; i < kPerWord; ++i)
        words[j][i] = row_words<Engine>(v[t + i] + offset, column + j * kLanes * kPerWord, width);
      Engine::pair_tokens(words[j]);
    }
    if (ahead != nullptr && due-- == 0) {
      fetch_ahead(ahead, kPerWord);
      due = passes - 1;
    }
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) {
      const U32 pv = splat(p[i * kPStride + t / kPerWord]);
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j)
        acc[i][j] = Engine::step(acc[i][j], pv, words[j / kPerWord][j % kPerWord]);
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) store(o + i * o_stride + j * kLanes, acc[i][j]);
}

// All output columns.
template <class Engine, int kRows, class T>
static void direct_output_columns(const Item& it, int row, const T* const* v, int64_t offset, int begin,
                                  int end, Lookahead<T>* ahead) {
  constexpr int kElements = kLanes * Engine::kPerWord, kLoads = kTileVectors / Engine::kPerWord;
  const int width = it.problem->head_dim_vo;
  const int wide = width / (kLoads * kElements),
            passes = wide + (width % (kLoads * kElements) + kElements - 1) / kElements;
  int column = 0;
  for (int pass = 0; pass < passes; ++pass) {
    if (pass < wide) {
      direct_output<Engine, kRows, kLoads>(it, row, column, v, offset, begin, end, pass, passes, ahead);
      column += kLoads * kElements;
    } else {
      direct_output<Engine, kRows, 1>(it, row, column, v, offset, begin, end, pass, passes, ahead);
      column += kElements;
    }
  }
}

template <int kValue>
struct RowCount {
  static constexpr int value = kValue;
};

// Calls function(first row, RowCount) for chunks of the item's rows.
template <class Function>
STROBE_INLINE void for_row_chunks(int rows, Function function) {
  for (int row = 0; row < rows; row += kDirectChunk) {
    switch (smaller(kDirectChunk, rows - row)) {
      case 1:
        function(row, RowCount<1>{});
        break;
      case 2:
        function(row, RowCount<2>{});
        break;
      case 3:
        function(row, RowCount<3>{});
        break;
      case 4:
        function(row, RowCount<4>{});
        break;
    }
  }
}

// Tokens of a head that the output takes in one go, at the least: it reads and writes the running sums once
// for each go.
inline constexpr int kOutputTokens = 16;

// Tokens of a head whose rows follow each other before the next head's: the cache is read in blocks of so
// many.
STROBE_INLINE int tokens_in_order(const AttentionProblem& p) {
  if (p.k_stride_head < p.k_stride_token) return 1;
  return p.page_size > 0 ? smaller(p.page_size, kDirectTokens) : kDirectTokens;
}

// Scores of a tile for `heads` KV heads, whose items follow each other.
template <class Engine, class T>
static void direct_scores_of_heads(const Item* items, int heads, int tile, const KvRows<T>& rows,
                                   Lookahead<T>* ahead) {
  const AttentionProblem& p = *items[0].problem;
  const bool rotates = p.rope_inv_freq != nullptr;
  const bool square = items[0].rows % kDirectChunk == 0 || items[0].rows % kDirectChunk == 3;
  const int least = square ? kTokensTogether<kDirectChunk> : kLanes;
  const int block = rotates ? kDirectTokens : round_up(larger(ahead->block_tokens, least), least);
  for (int begin = 0; begin < rows.count; begin += block) {
    const int end = smaller(begin + block, round_up(rows.count, kLanes));
    for (int h = 0; h < heads; ++h) {
      const Item& it = items[h];
      const auto scores = [&](const auto* const* k, int64_t offset) {
        for_row_chunks(it.rows, [&](int row, auto n) {
          direct_scores<Engine, decltype(n)::value>(it, row, k, offset, begin, end,
                                                    row == 0 ? ahead : nullptr);
        });
      };
      if (rotates) {
        const typename Engine::Element* rotated[kTiledTokens];
        rotate_k<Engine>(it, rows.k, h * p.k_stride_head, tile, rows.count, rotated);
        scores(rotated, 0);
      } else {
        scores(rows.k, h * p.k_stride_head);
      }
    }
  }
}

// Scores, softmax and output of a tile for `heads` KV heads.
template <class Engine, class T>
static void direct_tile(const Item* items, int heads, int tile, const KvRows<T>& rows, Lookahead<T>* ahead) {
  direct_scores_of_heads<Engine>(items, heads, tile, rows, ahead);
  Columns columns[kDirectRows];
  for (Columns& c : columns) c = {0, round_up(rows.count, kLanes)};
  for (int h = 0; h < heads; ++h) {
    const Item& it = items[h];
    for (int row = 0; row < it.rows; row += kLanes)
      softmax_rows<Engine>(it, row, smaller(kLanes, it.rows - row), tile, columns + row,
                           it.scratch.s + row * kTiledTokens,
                           it.scratch.p + row * (kTiledTokens / Engine::kPerWord));
  }
  const int block = round_up(larger(ahead->block_tokens, kOutputTokens), kOutputTokens);
  for (int begin = 0; begin < rows.count; begin += block) {
    const int end = smaller(begin + block, rows.count);
    for (int h = 0; h < heads; ++h)
      for_row_chunks(items[h].rows, [&](int row, auto n) {
        direct_output_columns<Engine, decltype(n)::value>(items[h], row, rows.v,
                                                          h * items[h].problem->v_stride_head, begin, end,
                                                          row == 0 ? ahead : nullptr);
      });
  }
}

template <class Engine, class T>
static void run_direct(const Item* items, int heads) {
  const Item& it = items[0];
  const int origin = it.item->kv_begin;
  KvRows<T> buffers[2];
  KvRows<T>*now = &buffers[0], *next = &buffers[1];
  Lookahead<T> ahead = {};
  ahead.heads = heads;
  ahead.block_tokens = tokens_in_order(*it.problem);
  int tile = origin + round_down(it.kv_begin - origin, kDirectTokens);
  gather_rows(it, tile, smaller(tile + kDirectTokens, it.kv_end), now);
  for (; tile < it.kv_end; tile += kDirectTokens) {
    gather_rows(it, tile + kDirectTokens, smaller(tile + 2 * kDirectTokens, it.kv_end), next);
    begin_tile(it, *now, *next, &ahead);
    fetch_ahead(&ahead, 0);
    direct_tile<Engine>(items, heads, tile, *now, &ahead);
    KvRows<T>* swap = now;
    now = next;
    next = swap;
  }
}

}  // namespace strobe::cpu::STROBE_ISA
