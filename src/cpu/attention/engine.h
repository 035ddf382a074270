// The two arithmetic engines of the attention kernel. Both see K, V, Q and P as 32-bit words: one f32, or a
// pair of bf16 that are neighbours along the reduction (head dim for Q K^T, KV token for P V). So they share
// tiles, packing and loops, and differ in what a word holds and how a lane of accumulators takes a product
// in.
#pragma once

#include "cpu/simd.h"

#if defined(__AVX512BF16__) || defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
#define STROBE_BF16_ENGINE 1
#endif

namespace strobe::cpu::STROBE_ISA {

// Any element types; K and V are widened to f32 as they are loaded or packed.
struct F32Engine {
  typedef float Element;              // of Q, P and packed K and V
  static constexpr int kPerWord = 1;  // elements in a word

  // acc + a * b, lane by lane.
  STROBE_INLINE F32 step(F32 acc, U32 a, U32 b) { return fma(from_bits(a), from_bits(b), acc); }

  // kLanes words from stored elements, and the first `elements` of them with zeros behind.
  template <class T>
  STROBE_INLINE U32 load_words(const T* p) {
    return bits(load(p));
  }
  template <class T>
  STROBE_INLINE U32 load_words_n(const T* p, int elements) {
    return bits(load_n(p, elements < kLanes ? elements : kLanes));
  }

  // kLanes elements from f32 values.
  STROBE_INLINE void store_elements(Element* p, F32 x) { store(p, x); }

  STROBE_INLINE F32 probability(F32 x) { return exp2(x); }
  static constexpr bool kRoundsProbabilities = false;
  STROBE_INLINE F32 as_stored(F32 probability) { return probability; }

  // Words along the KV tokens from the words of kPerWord rows of V: nothing to do for single elements.
  STROBE_INLINE void pair_tokens(U32 (&)[1]) {}
};

#if defined(STROBE_BF16_ENGINE)
// Q in bf16; KV in bf16 or an 8-bit format (exact in bf16). P is rounded to bf16. Accumulates in f32; the dot
// instructions take subnormal inputs as zero.
struct Bf16Engine {
  typedef bf16_t Element;
  static constexpr int kPerWord = 2;

  STROBE_INLINE F32 step(F32 acc, U32 a, U32 b) {
#if defined(__aarch64__)
    asm("bfdot %0.4s, %1.8h, %2.8h" : "+w"(acc) : "w"(a), "w"(b));
#else
    asm("vdpbf16ps %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b));
#endif
    return acc;
  }

  STROBE_INLINE U32 load_words(const bf16_t* p) {
    U32 r;
    __builtin_memcpy(&r, p, sizeof r);
    return r;
  }
  template <class T>
  STROBE_INLINE U32 load_words(const T* p) {
    return pack(load(p), load(p + kLanes));
  }

  template <class T>
  STROBE_INLINE U32 load_words_n(const T* p, int elements) {
    const int low = elements < kLanes ? elements : kLanes;
    const int rest = elements - low;
    return pack(load_n(p, low), load_n(p + low, rest < kLanes ? rest : kLanes));
  }

  STROBE_INLINE void store_elements(Element* p, F32 x) { store_bits(p, round(x)); }

  STROBE_INLINE F32 probability(F32 x) { return exp2_for_16_bits(x); }
  static constexpr bool kRoundsProbabilities = true;
  STROBE_INLINE F32 as_stored(F32 probability) {
    return from_bits((bits(probability) + 0x8000u) & 0xffff0000u);
  }

  // Rows a, b of 2 * kLanes columns become the words (a[c], b[c]) of the first kLanes columns and of the
  // others.
  STROBE_INLINE void pair_tokens(U32 (&rows)[2]) {
    const U32 a = rows[0], b = rows[1];
    rows[0] = interleave<0>(a, b, AllHalves{});
    rows[1] = interleave<kLanes>(a, b, AllHalves{});
  }

 private:
  typedef uint16_t Halves __attribute__((vector_size(4 * kLanes)));
#if defined(STROBE_SIMD_AVX512)
  typedef LaneList<0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24,
                   25, 26, 27, 28, 29, 30, 31>
      AllHalves;
#else
  typedef LaneList<0, 1, 2, 3, 4, 5, 6, 7> AllHalves;
#endif
  template <int kFirst, int... kHalf>
  STROBE_INLINE U32 interleave(U32 a, U32 b, LaneList<kHalf...>) {
    return (U32)__builtin_shufflevector((Halves)a, (Halves)b,
                                        ((kHalf % 2) * 2 * kLanes + kHalf / 2 + kFirst)...);
  }
  STROBE_INLINE U16 round(F32 x) {
    U16 r;
#if defined(__aarch64__)
    asm("bfcvtn %0.4h, %1.4s" : "=w"(r) : "w"(x));
#else
    asm("vcvtneps2bf16 %1, %0" : "=v"(r) : "v"(x));
#endif
    return r;
  }
  // The bf16 of `low` and behind them those of `high`.
  STROBE_INLINE U32 pack(F32 low, F32 high) {
    U32 r;
#if defined(__aarch64__)
    asm("bfcvtn %0.4h, %1.4s\n\tbfcvtn2 %0.8h, %2.4s" : "=&w"(r) : "w"(low), "w"(high));
#else
    asm("vcvtne2ps2bf16 %1, %2, %0" : "=v"(r) : "v"(low), "v"(high));
#endif
    return r;
  }
};
#endif

}  // namespace strobe::cpu::STROBE_ISA
