// The path for few rows (decode): K and V are read once, in place. Scores by dot products along the head dim
// and a transposing reduction; output by broadcast probabilities. Bound by memory: V of this tile is fetched
// during the scores, K of the next one during the output.
#pragma once

#include "cpu/attention/kv_rows.h"
#include "cpu/attention/pack.h"
#include "cpu/attention/rope.h"
#include "cpu/attention/softmax.h"
#include "cpu/attention/tile_gemm.h"

namespace strobe::cpu::STROBE_ISA {

inline constexpr int kDirectChunk = 4;                // rows that share the registers
inline constexpr int kDirectTogether = kTileVectors;  // tokens whose dot products run side by side

// Bytes of one row to bring in: byte offsets [begin, end) of every row in the list.
template <class T>
struct Prefetch {
  const T* const* rows;  // null: nothing
  int begin, end;
};
template <class T>
STROBE_INLINE void prefetch_row(const Prefetch<T>& p, int token) {
  if (p.rows == nullptr) return;
  const char* row = reinterpret_cast<const char*>(p.rows[token]);
  for (int byte = p.begin; byte < p.end; byte += 64) prefetch(row + byte);
}

// Scores of kRows rows against `count` tokens.
template <class Engine, class T, class V, int kRows>
static void direct_scores(const Item& it, int row, const T* const* k, int count, Prefetch<V> ahead) {
  constexpr int kElements = kLanes * Engine::kPerWord;
  const int width = it.problem->head_dim_qk;
  const int full = round_down(width, kElements);
  const uint32_t* q = it.scratch.q + row * it.q_stride;
  for (int t = 0; t < count; t += kLanes) {
    F32 dots[kRows][kLanes];
    for (int u = 0; u < kLanes; u += kDirectTogether) {
      F32 acc[kDirectTogether][kRows] = {};
      const T* const* rows = k + t + u;
      const auto add = [&](int column, auto load_k) __attribute__((always_inline)) {
        U32 qv[kRows];
#pragma GCC unroll 4
        for (int i = 0; i < kRows; ++i)
          __builtin_memcpy(&qv[i], q + i * it.q_stride + column / Engine::kPerWord, sizeof qv[i]);
#pragma GCC unroll 4
        for (int j = 0; j < kDirectTogether; ++j) {
          const U32 kv = load_k(rows[j] + column);
#pragma GCC unroll 4
          for (int i = 0; i < kRows; ++i) acc[j][i] = Engine::step(acc[j][i], qv[i], kv);
        }
      };
      for (int column = 0; column < full; column += kElements)
        add(
            column, [](const T* p) __attribute__((always_inline)) { return Engine::load_words(p); });
      if (full < width)
        add(
            full, [=](const T* p)
                      __attribute__((always_inline)) { return Engine::load_words_n(p, width - full); });
#pragma GCC unroll 4
      for (int j = 0; j < kDirectTogether; ++j) {
        prefetch_row(ahead, t + u + j);
#pragma GCC unroll 4
        for (int i = 0; i < kRows; ++i) dots[i][u + j] = acc[j][i];
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i)
      store(it.scratch.s + (row + i) * kTiledTokens + t, reduce_each<Add>(dots[i]) * it.scale);
  }
}

// Output columns [column, column + kLoads * kLanes * kPerWord) of kRows rows, from `count` tokens; `load_v`
// loads one vector of words from an address in a V row.
template <class Engine, int kRows, int kLoads, class T, class K, class LoadV>
STROBE_INLINE void direct_output(const Item& it, int row, int column, const T* const* v, int count,
                                 Prefetch<K> ahead, LoadV load_v) {
  constexpr int kPerWord = Engine::kPerWord, kPStride = kTiledTokens / kPerWord, kVectors = kLoads * kPerWord;
  const uint32_t* p = it.scratch.p + row * kPStride;
  float* o = it.scratch.o + row * it.o_stride + column;
  F32 acc[kRows][kVectors];
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j)
      acc[i][j] = load(o + i * it.o_stride + j * kLanes) * it.scratch.factor[row + i];
  for (int t = 0; t < count; t += kPerWord) {
    U32 words[kLoads][kPerWord];
#pragma GCC unroll 4
    for (int j = 0; j < kLoads; ++j) {
#pragma GCC unroll 2
      for (int i = 0; i < kPerWord; ++i) words[j][i] = load_v(v[t + i] + column + j * kLanes * kPerWord);
      Engine::pair_tokens(words[j]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < kPerWord; ++i) prefetch_row(ahead, t + i);
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
    for (int j = 0; j < kVectors; ++j) store(o + i * it.o_stride + j * kLanes, acc[i][j]);
}

// All output columns; the next K tile's row bytes are fetched in equal shares by the passes over the columns.
template <class Engine, class T, class K, int kRows>
static void direct_output_columns(const Item& it, int row, const T* const* v, int count,
                                  const K* const* next_k) {
  constexpr int kElements = kLanes * Engine::kPerWord, kLoads = kTileVectors / Engine::kPerWord;
  const int width = it.problem->head_dim_vo;
  const int64_t k_bytes = static_cast<int64_t>(it.problem->head_dim_qk * sizeof(K));
  const auto share = [&](int begin, int end) {
    return Prefetch<K>{next_k, static_cast<int>(k_bytes * begin / width),
                       static_cast<int>(k_bytes * end / width)};
  };
  int column = 0;
  for (; column + kLoads * kElements <= width; column += kLoads * kElements)
    direct_output<Engine, kRows, kLoads>(
        it, row, column, v, count, share(column, column + kLoads * kElements),
        [](const T* p) __attribute__((always_inline)) { return Engine::load_words(p); });
  for (; column < width; column += kElements)
    direct_output<Engine, kRows, 1>(
        it, row, column, v, count,
        share(column, smaller(column + kElements, width)), [=](const T* p) __attribute__((always_inline)) {
          return Engine::load_words_n(p, width - column);
        });
}

template <class Engine, class T, class V>
STROBE_INLINE void direct_scores_rows(const Item& it, const T* const* k, int count, const V* const* v) {
  const int v_bytes = it.problem->head_dim_vo * static_cast<int>(sizeof(V));
  for (int row = 0; row < it.rows; row += kDirectChunk) {
    const Prefetch<V> ahead = {row == 0 ? v : nullptr, 0, v_bytes};
    switch (smaller(kDirectChunk, it.rows - row)) {
      case 1:
        direct_scores<Engine, T, V, 1>(it, row, k, count, ahead);
        break;
      case 2:
        direct_scores<Engine, T, V, 2>(it, row, k, count, ahead);
        break;
      case 3:
        direct_scores<Engine, T, V, 3>(it, row, k, count, ahead);
        break;
      case 4:
        direct_scores<Engine, T, V, 4>(it, row, k, count, ahead);
        break;
    }
  }
}

template <class Engine, class T>
static void run_direct(const Item& it) {
  const int origin = it.item->kv_begin;
  KvRows<T> buffers[2];
  KvRows<T>*now = &buffers[0], *next = &buffers[1];
  int tile = origin + round_down(it.kv_begin - origin, kDirectTokens);
  gather_rows(it, tile, smaller(tile + kDirectTokens, it.kv_end), now);
  for (; tile < it.kv_end; tile += kDirectTokens) {
    const int count = now->count;
    gather_rows(it, tile + kDirectTokens, smaller(tile + 2 * kDirectTokens, it.kv_end), next);
    if (it.problem->rope_inv_freq != nullptr) {
      const typename Engine::Element* rotated[kTiledTokens];
      rotate_k<Engine>(it, now->k, tile, count, rotated);
      direct_scores_rows<Engine>(it, rotated, count, now->v);
    } else {
      direct_scores_rows<Engine>(it, now->k, count, now->v);
    }
    Columns columns[kDirectRows];
    for (Columns& c : columns) c = {0, round_up(count, kLanes)};
    for (int row = 0; row < it.rows; row += kLanes)
      softmax_rows<Engine>(it, row, smaller(kLanes, it.rows - row), tile, columns + row,
                           it.scratch.s + row * kTiledTokens,
                           it.scratch.p + row * (kTiledTokens / Engine::kPerWord));
    for (int row = 0; row < it.rows; row += kDirectChunk) {
      const T* const* ahead = row == 0 && next->count >= kDirectTokens ? next->k : nullptr;
      switch (smaller(kDirectChunk, it.rows - row)) {
        case 1:
          direct_output_columns<Engine, T, T, 1>(it, row, now->v, count, ahead);
          break;
        case 2:
          direct_output_columns<Engine, T, T, 2>(it, row, now->v, count, ahead);
          break;
        case 3:
          direct_output_columns<Engine, T, T, 3>(it, row, now->v, count, ahead);
          break;
        case 4:
          direct_output_columns<Engine, T, T, 4>(it, row, now->v, count, ahead);
          break;
      }
    }
    KvRows<T>* swap = now;
    now = next;
    next = swap;
  }
}

}  // namespace strobe::cpu::STROBE_ISA
