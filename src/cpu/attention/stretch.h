// How the direct path takes K and V from memory: stretches of a row, in the order of elements that costs the
// fewest instructions. Its queries are brought to the same order before, its output sums out of it
// afterwards.
#pragma once

#include "cpu/attention/pack.h"
#include "cpu/simd_pairs.h"

namespace strobe::cpu::STROBE_ISA {

// As the elements lie. The one that may reach beyond the row's end, where it reads zeros.
template <class Engine, class T>
struct Natural {
  static constexpr int kElements = kLanes * Engine::kPerWord;
  static constexpr int kKeyVectors = 1;                   // of words, of a stretch of K
  static constexpr int kValueVectors = Engine::kPerWord;  // of columns, of a stretch of V
  static constexpr bool kReorders = false;

  STROBE_INLINE void keys(const T* row, int column, int width, U32 (&words)[kKeyVectors]) {
    words[0] = row_words<Engine>(row, column, width);
  }
  // Words of tokens t[0], t[1], ….
  STROBE_INLINE void values(const T* const* t, int64_t offset, int column, int width,
                            U32 (&words)[kValueVectors]) {
#pragma GCC unroll 2
    for (int i = 0; i < kValueVectors; ++i) words[i] = row_words<Engine>(t[i] + offset, column, width);
    Engine::pair_tokens(words);
  }
};

// As the elements lie, all of them within the row.
template <class Engine, class T>
struct Stretch {
  static constexpr int kElements = kLanes * Engine::kPerWord;
  static constexpr int kKeyVectors = 1, kValueVectors = Engine::kPerWord;
  static constexpr bool kReorders = false;

  STROBE_INLINE void keys(const T* row, int column, int, U32 (&words)[1]) {
    words[0] = Engine::load_words(row + column);
  }
  STROBE_INLINE void values(const T* const* t, int64_t offset, int column, int, U32 (&words)[kValueVectors]) {
#pragma GCC unroll 2
    for (int i = 0; i < kValueVectors; ++i) words[i] = Engine::load_words(t[i] + offset + column);
    Engine::pair_tokens(words);
  }
};

// bf16 widened to f32: even elements, then odd ones (simd_pairs.h).
template <>
struct Stretch<F32Engine, bf16_t> {
  static constexpr int kElements = 2 * kLanes;
  static constexpr int kKeyVectors = 2, kValueVectors = 2;
  static constexpr bool kReorders = true;

  STROBE_INLINE void keys(const bf16_t* row, int column, int, U32 (&words)[2]) {
    F32 even, odd;
    load_pairs(row + column, even, odd);
    words[0] = bits(even);
    words[1] = bits(odd);
  }
  STROBE_INLINE void values(const bf16_t* const* t, int64_t offset, int column, int width, U32 (&words)[2]) {
    keys(t[0] + offset, column, width, words);
  }
  STROBE_INLINE void reorder_query(uint32_t* q) {
    F32 even, odd;
    load_pairs(reinterpret_cast<const float*>(q), even, odd);
    store(reinterpret_cast<float*>(q), even);
    store(reinterpret_cast<float*>(q) + kLanes, odd);
  }
  STROBE_INLINE void restore_output(float* o) { put_pairs<false>(o, load(o), load(o + kLanes)); }
};

#if defined(__AVX512BF16__) && defined(__AVX512VBMI__)
// 8-bit formats to bf16 by table: the 128 magnitudes' lower bytes, and their upper ones.
template <class T>
struct Bf16Table {
  alignas(64) uint8_t low[128], high[128];

  static constexpr uint16_t bf16_of(int magnitude) {
    constexpr int kMantissa = __is_same(T, e4m3_t) ? 3 : 2, kBias = __is_same(T, e4m3_t) ? 7 : 15;
    constexpr int kSmallestNormal = 1 << kMantissa;
    if (__is_same(T, e4m3_t) ? magnitude == 0x7f : magnitude > 0x7c) return 0x7fc0;  // NaN
    if (!__is_same(T, e4m3_t) && magnitude == 0x7c) return 0x7f80;                   // infinity
    if (magnitude == 0) return 0;
    int exponent = (magnitude >> kMantissa) - kBias, fraction = magnitude & (kSmallestNormal - 1);
    if (magnitude < kSmallestNormal) {
      for (exponent = 1 - kBias; fraction < kSmallestNormal; --exponent) fraction *= 2;
      fraction -= kSmallestNormal;
    }
    return static_cast<uint16_t>((exponent + 127) << 7 | fraction << (7 - kMantissa));
  }
  constexpr Bf16Table() : low{}, high{} {
    for (int m = 0; m < 128; ++m) {
      low[m] = static_cast<uint8_t>(bf16_of(m) & 0xff);
      high[m] = static_cast<uint8_t>(bf16_of(m) >> 8);
    }
  }
};
template <class T>
inline constexpr Bf16Table<T> kBf16Table;

template <class T>
requires(sizeof(T) == 1) struct Stretch<Bf16Engine, T> {
  static constexpr int kElements = 4 * kLanes;
  static constexpr int kKeyVectors = 2, kValueVectors = 4;
  static constexpr bool kReorders = true;
  typedef uint8_t Bytes __attribute__((vector_size(4 * kLanes)));

  // Of every 16 elements the first 8 to words[0], the others to words[1].
  STROBE_INLINE void keys(const T* row, int column, int, U32 (&words)[2]) {
    widen_bytes(load_bytes(row + column), words[0], words[1]);
  }
  // Words (a, b) of two tokens: of every 16 columns the first 4 to words[0], the next 4 to words[1], ….
  STROBE_INLINE void values(const T* const* t, int64_t offset, int column, int, U32 (&words)[4]) {
    const Bytes a = load_bytes(t[0] + offset + column), b = load_bytes(t[1] + offset + column);
    widen_bytes(low_halves(a, b), words[0], words[1]);
    widen_bytes(high_halves(a, b), words[2], words[3]);
  }
  STROBE_INLINE void reorder_query(uint32_t* q) {
    U32 a, b;
    __builtin_memcpy(&a, q, sizeof a);
    __builtin_memcpy(&b, q + kLanes, sizeof b);
    const U32 first = __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
    const U32 second =
        __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    __builtin_memcpy(q, &first, sizeof first);
    __builtin_memcpy(q + kLanes, &second, sizeof second);
  }
  // Quarter i of vector j and quarter j of vector i change places.
  STROBE_INLINE void restore_output(float* o) {
    float x[4][4][4];  // [vector][quarter][lane]
    __builtin_memcpy(x, o, sizeof x);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j)
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) __builtin_memcpy(o + (4 * j + i) * 4, x[i][j], sizeof x[i][j]);
  }

 private:
  STROBE_INLINE Bytes load_bytes(const T* p) {
    Bytes r;
    __builtin_memcpy(&r, p, sizeof r);
    return r;
  }
  STROBE_INLINE Bytes low_halves(Bytes a, Bytes b) {
    Bytes r;
    asm("vpunpcklbw %2, %1, %0" : "=v"(r) : "v"(a), "v"(b));
    return r;
  }
  STROBE_INLINE Bytes high_halves(Bytes a, Bytes b) {
    Bytes r;
    asm("vpunpckhbw %2, %1, %0" : "=v"(r) : "v"(a), "v"(b));
    return r;
  }
  // Table entries at the lower 7 bits of each byte.
  STROBE_INLINE Bytes look_up(const uint8_t (&table)[128], Bytes index) {
    Bytes r = index, first, second;
    __builtin_memcpy(&first, table, sizeof first);
    __builtin_memcpy(&second, table + 64, sizeof second);
    asm("vpermi2b %2, %1, %0" : "+v"(r) : "v"(first), "v"(second));
    return r;
  }
  // Of every 16 bytes, the first 8 as bf16 and the others.
  STROBE_INLINE void widen_bytes(Bytes x, U32& first, U32& second) {
    const Bytes low = look_up(kBf16Table<T>.low, x);
    const Bytes high = look_up(kBf16Table<T>.high, x) | (x & 0x80);
    first = (U32)low_halves(low, high);
    second = (U32)high_halves(low, high);
  }
};
#endif

}  // namespace strobe::cpu::STROBE_ISA
