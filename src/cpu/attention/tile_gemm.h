// The register tile of both products: C[rows][columns] from words A[rows][k] and B[k][columns].
#pragma once

#include "cpu/attention/engine.h"

namespace strobe::cpu::STROBE_ISA {

// Accumulators fill three quarters of the register file at kTileRows x kTileVectors; B's vectors and A's
// broadcast take the rest. 32 registers (AVX-512, aarch64): 6 x 4 + 4 + 1; 16 registers: 6 x 2 + 2 + 1.
inline constexpr int kTileRows = 6;
#if defined(STROBE_SIMD_AVX512) || defined(__aarch64__)
inline constexpr int kTileVectors = 4;
#else
inline constexpr int kTileVectors = 2;
#endif
inline constexpr int kTileColumns = kTileVectors * kLanes;

// Operands of one call; strides in 32-bit words. Only k in [k_begin, k_end) is summed.
struct TileOperands {
  const uint32_t* a;
  int a_stride;
  const uint32_t* b;  // stride kTileColumns
  float* c;
  int c_stride;
  int k_begin, k_end;
};

// Scores: C = A B * scale.
struct ScaleResult {
  float scale;
  STROBE_INLINE F32 start(const ScaleResult&, const float*, int) { return F32{}; }
  STROBE_INLINE F32 finish(const ScaleResult& rule, F32 x) { return x * rule.scale; }
};

// Output: C = C * factor[row] + A B.
struct RescaleAndAdd {
  const float* factor;
  STROBE_INLINE F32 start(const RescaleAndAdd& rule, const float* c, int row) {
    return load(c) * rule.factor[row];
  }
  STROBE_INLINE F32 finish(const RescaleAndAdd&, F32 x) { return x; }
};

template <class Engine, class Rule, int kRows, int kVectors>
__attribute__((noinline)) static void multiply_tile(const TileOperands& operands, const Rule& rule) {
  const TileOperands t = operands;  // a copy that stores through t.c cannot change
  F32 acc[kRows][kVectors];
#pragma GCC unroll 6
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) acc[i][j] = Rule::start(rule, t.c + i * t.c_stride + j * kLanes, i);

  const uint32_t* a = t.a + t.k_begin;
  const uint32_t* b = t.b + t.k_begin * kTileColumns;
  for (int k = t.k_begin; k < t.k_end; ++k, ++a, b += kTileColumns) {
    U32 bv[kVectors];
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) __builtin_memcpy(&bv[j], b + j * kLanes, sizeof bv[j]);
#pragma GCC unroll 6
    for (int i = 0; i < kRows; ++i) {
      const U32 av = splat(a[i * t.a_stride]);
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) acc[i][j] = Engine::step(acc[i][j], av, bv[j]);
    }
  }

#pragma GCC unroll 6
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j)
      store(t.c + i * t.c_stride + j * kLanes, Rule::finish(rule, acc[i][j]));
}

template <class Engine, class Rule, int kRows>
STROBE_INLINE void multiply_rows(const TileOperands& t, const Rule& rule, int vectors) {
  switch (vectors) {
    case 1:
      return multiply_tile<Engine, Rule, kRows, 1>(t, rule);
    case 2:
      return multiply_tile<Engine, Rule, kRows, 2>(t, rule);
#if defined(STROBE_SIMD_AVX512) || defined(__aarch64__)
    case 3:
      return multiply_tile<Engine, Rule, kRows, 3>(t, rule);
    case 4:
      return multiply_tile<Engine, Rule, kRows, 4>(t, rule);
#endif
  }
}

// 1 <= rows <= kTileRows, 1 <= vectors <= kTileVectors. A row's sums are formed in the order of k whatever
// the tile's shape.
template <class Engine, class Rule>
static void multiply(const TileOperands& t, const Rule& rule, int rows, int vectors) {
  switch (rows) {
    case 1:
      return multiply_rows<Engine, Rule, 1>(t, rule, vectors);
    case 2:
      return multiply_rows<Engine, Rule, 2>(t, rule, vectors);
    case 3:
      return multiply_rows<Engine, Rule, 3>(t, rule, vectors);
    case 4:
      return multiply_rows<Engine, Rule, 4>(t, rule, vectors);
    case 5:
      return multiply_rows<Engine, Rule, 5>(t, rule, vectors);
    case 6:
      return multiply_rows<Engine, Rule, 6>(t, rule, vectors);
  }
}

}  // namespace strobe::cpu::STROBE_ISA
