// The path for few rows (decode): K and V are read once, in place. Scores by dot products along the head dim
// and a transposing reduction; output by broadcast probabilities. Bound by memory (lookahead.h).
#pragma once

#include "cpu/attention/lookahead.h"
#include "cpu/attention/pack.h"
#include "cpu/attention/rope.h"
#include "cpu/attention/softmax.h"
#include "cpu/attention/tile_gemm.h"

namespace strobe::cpu::STROBE_ISA {

inline constexpr int kDirectChunk = 4;  // rows that share the registers

// Tokens whose dot products run side by side. One: the cache is read in the order of its addresses, and a
// wide core overlaps the sums itself; narrow vectors need so many instructions for a token that it cannot
// look far enough ahead.
inline constexpr int kDirectTogether = kLanes >= 16 ? 1 : 2;

// Scores of kRows rows against `count` tokens.
template <class Engine, int kRows, class T, class Cached>
static void direct_scores(const Item& it, int row, const T* const* k, int count, Lookahead<Cached>* ahead) {
  constexpr int kElements = kLanes * Engine::kPerWord;
  const int width = it.problem->head_dim_qk, q_stride = it.q_stride;
  const uint32_t* q = it.scratch.q + row * q_stride;
  for (int t = 0; t < count; t += kLanes) {
    F32 dots[kRows][kLanes];
    for (int u = 0; u < kLanes; u += kDirectTogether) {
      F32 acc[kDirectTogether][kRows] = {};
      for (int column = 0; column < width; column += kElements) {
        U32 qv[kRows];
#pragma GCC unroll 4
        for (int i = 0; i < kRows; ++i)
          __builtin_memcpy(&qv[i], q + i * q_stride + column / Engine::kPerWord, sizeof qv[i]);
#pragma GCC unroll 2
        for (int j = 0; j < kDirectTogether; ++j) {
          const U32 kv = row_words<Engine>(k[t + u + j], column, width);
#pragma GCC unroll 4
          for (int i = 0; i < kRows; ++i) acc[j][i] = Engine::step(acc[j][i], qv[i], kv);
        }
      }
      if (ahead != nullptr) fetch_ahead(ahead, t + u);
#pragma GCC unroll 2
      for (int j = 0; j < kDirectTogether; ++j)
#pragma GCC unroll 4
        for (int i = 0; i < kRows; ++i) dots[i][u + j] = acc[j][i];
    }
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i)
      store(it.scratch.s + (row + i) * kTiledTokens + t, reduce_each<Add>(dots[i]) * it.scale);
  }
}

// Output columns [column, column + kLoads * kLanes * kPerWord) of kRows rows, from `count` tokens. This is
// one of `passes` over V; the lookahead starts from `used` rows.
template <class Engine, int kRows, int kLoads, class T>
static void direct_output(const Item& it, int row, int column, const T* const* v, int count, int used,
                          int passes, Lookahead<T>* ahead) {
  constexpr int kPerWord = Engine::kPerWord, kPStride = kTiledTokens / kPerWord, kVectors = kLoads * kPerWord;
  const int width = it.problem->head_dim_vo, o_stride = it.o_stride;
  const uint32_t* p = it.scratch.p + row * kPStride;
  float* o = it.scratch.o + row * o_stride + column;
  F32 acc[kRows][kVectors];
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j)
      acc[i][j] = load(o + i * o_stride + j * kLanes) * it.scratch.factor[row + i];
  int remainder = 0;
  for (int t = 0; t < count; t += kPerWord) {
    U32 words[kLoads][kPerWord];
#pragma GCC unroll 4
    for (int j = 0; j < kLoads; ++j) {
#pragma GCC unroll 2
      for (int i = 0; i < kPerWord; ++i)
        words[j][i] = row_words<Engine>(v[t + i], column + j * kLanes * kPerWord, width);
      Engine::pair_tokens(words[j]);
    }
    if (ahead != nullptr) {
      for (remainder += kPerWord; remainder >= passes; remainder -= passes) ++used;
      fetch_ahead(ahead, used);
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
static void direct_output_columns(const Item& it, int row, const T* const* v, int count,
                                  Lookahead<T>* ahead) {
  constexpr int kElements = kLanes * Engine::kPerWord, kLoads = kTileVectors / Engine::kPerWord;
  const int width = it.problem->head_dim_vo;
  const int wide = width / (kLoads * kElements),
            passes = wide + (width % (kLoads * kElements) + kElements - 1) / kElements;
  int column = 0;
  for (int pass = 0; pass < passes; ++pass) {
    const int used = count + count * pass / passes;  // all of K, and a share of V
    if (pass < wide) {
      direct_output<Engine, kRows, kLoads>(it, row, column, v, count, used, passes, ahead);
      column += kLoads * kElements;
    } else {
      direct_output<Engine, kRows, 1>(it, row, column, v, count, used, passes, ahead);
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

// Scores, softmax and output of one tile; `k` are its key rows, in the cache or rotated.
template <class Engine, class T, class K>
static void direct_tile(const Item& it, int tile, const K* const* k, const KvRows<T>& rows,
                        Lookahead<T>* ahead) {
  const int count = rows.count;
  for_row_chunks(it.rows, [&](int row, auto n) {
    direct_scores<Engine, decltype(n)::value>(it, row, k, count, row == 0 ? ahead : nullptr);
  });
  fetch_ahead(ahead, count + kRowsBurst);
  Columns columns[kDirectRows];
  for (Columns& c : columns) c = {0, round_up(count, kLanes)};
  for (int row = 0; row < it.rows; row += kLanes)
    softmax_rows<Engine>(it, row, smaller(kLanes, it.rows - row), tile, columns + row,
                         it.scratch.s + row * kTiledTokens,
                         it.scratch.p + row * (kTiledTokens / Engine::kPerWord));
  for_row_chunks(it.rows, [&](int row, auto n) {
    direct_output_columns<Engine, decltype(n)::value>(it, row, rows.v, count, row == 0 ? ahead : nullptr);
  });
}

template <class Engine, class T>
static void run_direct(const Item& it) {
  const int origin = it.item->kv_begin;
  KvRows<T> buffers[2];
  KvRows<T>*now = &buffers[0], *next = &buffers[1];
  Lookahead<T> ahead = {};
  int tile = origin + round_down(it.kv_begin - origin, kDirectTokens);
  gather_rows(it, tile, smaller(tile + kDirectTokens, it.kv_end), now);
  for (; tile < it.kv_end; tile += kDirectTokens) {
    gather_rows(it, tile + kDirectTokens, smaller(tile + 2 * kDirectTokens, it.kv_end), next);
    begin_tile(it, *now, *next, &ahead);
    fetch_ahead(&ahead, 0);
    if (it.problem->rope_inv_freq != nullptr) {
      const typename Engine::Element* rotated[kTiledTokens];
      rotate_k<Engine>(it, now->k, tile, now->count, rotated);
      direct_tile<Engine>(it, tile, rotated, *now, &ahead);
    } else {
      direct_tile<Engine>(it, tile, now->k, *now, &ahead);
    }
    KvRows<T>* swap = now;
    now = next;
    next = swap;
  }
}

}  // namespace strobe::cpu::STROBE_ISA
