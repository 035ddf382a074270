// Packing of one KV tile into words for the register tile: K transposed, V with the tokens of a word side by
// side.
#pragma once

#include "cpu/attention/kv_rows.h"
#include "cpu/attention/tile_gemm.h"
#include "cpu/simd_shuffle.h"

namespace strobe::cpu::STROBE_ISA {

// kLanes words of a row from element `column` on; `width` elements exist.
template <class Engine, class T>
STROBE_INLINE U32 row_words(const T* row, int column, int width) {
  constexpr int kElements = kLanes * Engine::kPerWord;
  if (width - column >= kElements) return Engine::load_words(row + column);
  return Engine::load_words_n(row + column, width - column);
}

// Packed tiles are cut into panels of kTileColumns columns (tokens of K, output columns of V), each
// [k][kTileColumns]: the register tile then walks through consecutive lines, where rows as wide as the tile
// would fall into a few sets of the cache.

// K: word w of token t to row w, column t; zeros for tokens from `count` to a multiple of kLanes.
template <class Engine, class T>
static void pack_k(const T* const* rows, int count, int head_dim, int panel_words, uint32_t* k) {
  constexpr int kElements = kLanes * Engine::kPerWord;
  for (int t = 0; t < count; t += kLanes) {
    uint32_t* panel = k + t / kTileColumns * panel_words + t % kTileColumns;
    for (int column = 0; column < head_dim; column += kElements) {
      U32 block[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i)
        block[i] = t + i < count ? row_words<Engine>(rows[t + i], column, head_dim) : U32{};
      transpose(block);
      uint32_t* to = panel + column / Engine::kPerWord * kTileColumns;
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) __builtin_memcpy(to + i * kTileColumns, &block[i], sizeof block[i]);
    }
  }
}

// V: the word of tokens (t, …) and column c to row t / kPerWord, column c; zeros for tokens from `count` to a
// multiple of kLanes, and for columns from `head_dim` to a multiple of a row vector.
template <class Engine, class T>
static void pack_v(const T* const* rows, int count, int head_dim, int panel_words, uint32_t* v) {
  constexpr int kPerWord = Engine::kPerWord;
  for (int t = 0; t < round_up(count, kLanes); t += kPerWord) {
    for (int column = 0; column < head_dim; column += kLanes * kPerWord) {
      U32 words[kPerWord];
#pragma GCC unroll 2
      for (int i = 0; i < kPerWord; ++i)
        words[i] = t + i < count ? row_words<Engine>(rows[t + i], column, head_dim) : U32{};
      Engine::pair_tokens(words);
      uint32_t* to =
          v + column / kTileColumns * panel_words + t / kPerWord * kTileColumns + column % kTileColumns;
      __builtin_memcpy(to, words, sizeof words);
    }
  }
}

}  // namespace strobe::cpu::STROBE_ISA
