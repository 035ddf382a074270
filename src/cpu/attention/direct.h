// The path for few rows (decode): K and V are read once, in place. Scores by dot products along the head dim
// and a transposing reduction; output by broadcast probabilities. Bound by memory: all KV heads of the item
// advance together, so that the cache is read in the order of its addresses whichever its layout
// (lookahead.h).
#pragma once

#include "cpu/attention/lookahead.h"
#include "cpu/attention/rope.h"
#include "cpu/attention/softmax.h"
#include "cpu/attention/stretch.h"
#include "cpu/attention/tile_gemm.h"

namespace strobe::cpu::STROBE_ISA {

inline constexpr int kDirectChunk = 4;  // rows that share the registers

// Tokens whose dot products with kRows rows fill a square of kLanes accumulators, which one transposing
// reduction sums.
template <int kRows>
inline constexpr int kTokensTogether = kLanes / (kRows > 2 ? 4 : kRows);

// Tokens whose keys are in registers at a time.
template <class Keys, int kRows>
inline constexpr int kTokensInRegisters =
    kTokensTogether<kRows> < 4 / Keys::kKeyVectors ? kTokensTogether<kRows> : 4 / Keys::kKeyVectors;

// Adds a stretch of kRows queries times kTokensTogether keys to dots[row][token]; `q` is at the stretch.
template <class Engine, class Keys, int kRows, class K>
STROBE_INLINE void add_products(const uint32_t* q, ptrdiff_t q_stride,
                                const K* const (&k)[kTokensTogether<kRows>], int column, int width,
                                F32 (&dots)[kLanes]) {
  constexpr int kTokens = kTokensTogether<kRows>, kNow = kTokensInRegisters<Keys, kRows>;
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; t += kNow) {
    U32 words[kNow][Keys::kKeyVectors];
#pragma GCC unroll 4
    for (int j = 0; j < kNow; ++j) Keys::keys(k[t + j], column, width, words[j]);
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
      for (int v = 0; v < Keys::kKeyVectors; ++v) {
        U32 qv;
        __builtin_memcpy(&qv, q + i * q_stride + v * kLanes, sizeof qv);
#pragma GCC unroll 4
        for (int j = 0; j < kNow; ++j)
          dots[i * kTokens + t + j] = Engine::step(dots[i * kTokens + t + j], qv, words[j][v]);
      }
    }
  }
}

// Scores of kRows rows against tokens [begin, end) of a tile, multiples of kTokensTogether.
template <class Engine, int kRows, class K, class Cached>
static void direct_scores(const Item& it, int row, const K* const* k, int64_t offset, int begin, int end,
                          Lookahead<Cached>* ahead) {
  typedef Stretch<Engine, K> Whole;
  typedef Natural<Engine, K> Rest;
  constexpr int kTokens = kTokensTogether<kRows>;
  const int width = it.problem->head_dim_qk, whole = width / Whole::kElements * Whole::kElements;
  const ptrdiff_t q_stride = it.q_stride;
  const uint32_t* const q = it.scratch.q + row * q_stride;
  float* scores = it.scratch.s + row * kTiledTokens + begin;
  const float scale = it.scale;
  for (int t = begin; t < end; t += kTokens, scores += kTokens) {
    const K* keys[kTokens];
#pragma GCC unroll 16
    for (int j = 0; j < kTokens; ++j) keys[j] = k[t + j] + offset;
    F32 dots[kLanes] = {};  // [row][token]
    const uint32_t* words = q;
    int column = 0;
    int due = ahead != nullptr ? kTokens : 0;  // rows to ask for, one a stretch while there are stretches
    for (; column < whole; column += Whole::kElements, words += Whole::kElements / Engine::kPerWord) {
      add_products<Engine, Whole, kRows>(words, q_stride, keys, column, width, dots);
      if (due == 0) continue;
      fetch_ahead(ahead, 1);
      --due;
    }
    for (; column < width; column += Rest::kElements, words += kLanes)
      add_products<Engine, Rest, kRows>(words, q_stride, keys, column, width, dots);
    if (due > 0) fetch_ahead(ahead, due);
    const F32 sums = reduce_each<Add>(dots) * scale;
    const char* bytes = reinterpret_cast<const char*>(&sums);
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i)
      __builtin_memcpy(scores + i * kTiledTokens, bytes + i * kTokens * sizeof(float),
                       kTokens * sizeof(float));
  }
}

// One of the passes over the tokens that make all output columns.
struct OutputPass {
  int column, number, count;
};

// Output of kRows rows in kStretches stretches of columns, from tokens [begin, end) of a tile.
template <class Engine, class Values, int kRows, int kStretches, class T>
static void direct_output(const Item& it, int row, OutputPass pass, const T* const* v, int64_t offset,
                          int begin, int end, Lookahead<T>* ahead) {
  constexpr int kPerWord = Engine::kPerWord, kPStride = kTiledTokens / kPerWord;
  constexpr int kOfStretch = Values::kValueVectors, kVectors = kStretches * kOfStretch;
  const int width = it.problem->head_dim_vo;
  const ptrdiff_t o_stride = it.o_stride;
  const uint32_t* p = it.scratch.p + row * kPStride + begin / kPerWord;
  float* o = it.scratch.o + row * o_stride + pass.column;
  F32 acc[kRows][kVectors];
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) {
    const float factor = begin == 0 ? it.scratch.factor[row + i] : 1;
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) acc[i][j] = load(o + i * o_stride + j * kLanes) * factor;
  }
  // The passes share the asking for rows, and spread it: one row after as many tokens as there are passes.
  const int rows_due = pass.count % kPerWord == 0 ? 1 : kPerWord;
  const int chunk = pass.count * rows_due;
  for (int t = begin; t < end;) {
    for (const int stop = smaller(t + chunk, end); t < stop; t += kPerWord, ++p) {
      U32 words[kStretches][kOfStretch];
#pragma GCC unroll 4
      for (int j = 0; j < kStretches; ++j)
        Values::values(v + t, offset, pass.column + j * Values::kElements, width, words[j]);
#pragma GCC unroll 4
      for (int i = 0; i < kRows; ++i) {
        const U32 pv = splat(p[i * kPStride]);
#pragma GCC unroll 4
        for (int j = 0; j < kVectors; ++j)
          acc[i][j] = Engine::step(acc[i][j], pv, words[j / kOfStretch][j % kOfStretch]);
      }
    }
    if (ahead != nullptr) fetch_ahead(ahead, rows_due);
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
  typedef Stretch<Engine, T> Whole;
  typedef Natural<Engine, T> Rest;
  constexpr int kStretches = larger(kTileVectors / Whole::kValueVectors, 1);
  constexpr int kWide = kStretches * Whole::kElements;
  const int width = it.problem->head_dim_vo;
  const int whole = width / Whole::kElements, wide = whole / kStretches, narrow = whole % kStretches;
  const int rest = (width - whole * Whole::kElements + Rest::kElements - 1) / Rest::kElements;
  OutputPass pass = {0, 0, wide + narrow + rest};
  for (; pass.number < wide; ++pass.number, pass.column += kWide)
    direct_output<Engine, Whole, kRows, kStretches>(it, row, pass, v, offset, begin, end, ahead);
  for (; pass.number < wide + narrow; ++pass.number, pass.column += Whole::kElements)
    direct_output<Engine, Whole, kRows, 1>(it, row, pass, v, offset, begin, end, ahead);
  for (; pass.number < pass.count; ++pass.number, pass.column += Rest::kElements)
    direct_output<Engine, Rest, kRows, 1>(it, row, pass, v, offset, begin, end, ahead);
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

// Tokens of a head that the output takes in one go: it reads and writes the running sums once for each go,
// and needs the tokens' rows as many times sooner than they are used up as it makes passes.
inline constexpr int kOutputTokens = 16;

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

template <class Engine>
static void direct_softmax(const Item& it, int tile, int count) {
  Columns columns[kDirectRows];
  for (Columns& c : columns) c = {0, round_up(count, kLanes)};
  for (int row = 0; row < it.rows; row += kLanes)
    softmax_rows<Engine>(it, row, smaller(kLanes, it.rows - row), tile, columns + row,
                         it.scratch.s + row * kTiledTokens,
                         it.scratch.p + row * (kTiledTokens / Engine::kPerWord));
}

// Scores, softmax and output of a tile for `heads` KV heads. Each head's softmax comes just before its
// output: while it computes, memory brings only what has been asked for ahead.
template <class Engine, class T>
static void direct_tile(const Item* items, int heads, int tile, const KvRows<T>& rows, Lookahead<T>* ahead) {
  direct_scores_of_heads<Engine>(items, heads, tile, rows, ahead);
  const int block = round_up(larger(ahead->block_tokens, kOutputTokens), kOutputTokens);
  for (int begin = 0; begin < rows.count; begin += block) {
    const int end = smaller(begin + block, rows.count);
    for (int h = 0; h < heads; ++h) {
      const Item& it = items[h];
      if (begin == 0) direct_softmax<Engine>(it, tile, rows.count);
      for (int go = begin; go < end; go += kOutputTokens)
        for_row_chunks(it.rows, [&](int row, auto n) {
          direct_output_columns<Engine, decltype(n)::value>(it, row, rows.v, h * it.problem->v_stride_head,
                                                            go, smaller(go + kOutputTokens, end),
                                                            row == 0 ? ahead : nullptr);
        });
    }
  }
}

// Queries into the order of the stretches that are read as `Keys` says, outputs back from that of `Values`.
template <class Keys, class Engine>
static void reorder_queries(const Item& it) {
  if constexpr (Keys::kReorders)
    for (int row = 0; row < it.rows; ++row)
      for (int column = 0; column + Keys::kElements <= it.problem->head_dim_qk; column += Keys::kElements)
        Keys::reorder_query(it.scratch.q + row * it.q_stride + column / Engine::kPerWord);
}
template <class Values>
static void restore_outputs(const Item& it) {
  if constexpr (Values::kReorders)
    for (int row = 0; row < it.rows; ++row)
      for (int column = 0; column + Values::kElements <= it.problem->head_dim_vo; column += Values::kElements)
        Values::restore_output(it.scratch.o + row * it.o_stride + column);
}

template <class Engine, class T>
static void run_direct(const Item* items, int heads) {
  const Item& it = items[0];
  if (it.problem->rope_inv_freq == nullptr)  // else keys come from scratch, as engine elements in their order
    for (int h = 0; h < heads; ++h) reorder_queries<Stretch<Engine, T>, Engine>(items[h]);
  const int origin = it.item->kv_begin;
  KvRows<T> buffers[2];
  KvRows<T>*now = &buffers[0], *next = &buffers[1];
  Lookahead<T> ahead;
  begin_lookahead(*it.problem, heads, kOutputTokens, &ahead);
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
  for (int h = 0; h < heads; ++h) restore_outputs<Stretch<Engine, T>>(items[h]);
}

}  // namespace strobe::cpu::STROBE_ISA
