// The walk along a row of elements: two full vectors at a time, then the rest by single, last by part of a
// vector.
//
// Two vectors of bf16 are loaded and stored as the even and the odd elements (simd_pairs.h), which moves no
// lane, unless the level packs two vectors in one instruction. What is computed element by element does not
// mind the order, as long as every operand of a step comes and goes through the same access.
#pragma once

#include "cpu/simd.h"
#include "cpu/simd_pairs.h"

namespace strobe::cpu::STROBE_ISA {

// Two vectors from consecutive elements.
template <class T>
STROBE_INLINE void load_two(const T* p, F32& a, F32& b) {
  a = load(p);
  b = load(p + kLanes);
}
template <bool kStream, class T>
STROBE_INLINE void put_two(T* p, F32 a, F32 b) {
  put<kStream>(p, a);
  put<kStream>(p + kLanes, b);
}
#if defined(STROBE_SIMD_PACKS_BF16)
// Word kFirst + i of 2 * kLanes goes to the upper half of lane i, 0 to the lower.
template <int kFirst, int... kLane>
STROBE_INLINE F32 widen_words(U32 words, LaneList<kLane...>) {
  constexpr uint32_t kUpperHalves = 0xaaaaaaaa;
  const U32 places = {((kFirst + kLane) << 16)...};
  F32 r;
  asm("vpermw %1, %2, %0%{%3%}%{z%}" : "=v"(r) : "v"(words), "v"(places), "Yk"(kUpperHalves));
  return r;
}
STROBE_INLINE void load_two(const bf16_t* p, F32& a, F32& b) {
  U32 words;
  __builtin_memcpy(&words, p, sizeof words);
  a = widen_words<0>(words, AllLanes{});
  b = widen_words<kLanes>(words, AllLanes{});
}
template <bool kStream>
STROBE_INLINE void put_two(bf16_t* p, F32 a, F32 b) {
  put<kStream>(reinterpret_cast<float*>(p), from_bits(pack_bf16(a, b)));
}
#endif

#if defined(STROBE_SIMD_PERMUTES_BYTES)
// Byte kByte of each 32-bit lane of four vectors, in order.
typedef LaneList<0, 1, 2, 3, 4, 5, 6, 7, 24, 25, 26, 27, 28, 29, 30, 31> HalfOfEach;
template <int... kLane>
STROBE_INLINE U32 halves(U32 low, U32 high, LaneList<kLane...>) {
  return __builtin_shufflevector(low, high, kLane...);
}
template <int kByte, int... kLane>
STROBE_INLINE U32 gather_bytes(U32 a, U32 b, LaneList<kLane...>) {
  // Four places a lane, the same in both halves: bytes of `a`, then of `b`, whose numbers begin at 64.
  const U32 places = {((kLane % 8 * 16 + kByte) * 0x01010101u + 0x0c080400u)...};
  asm("vpermt2b %2, %1, %0" : "+v"(a) : "v"(places), "v"(b));
  return a;
}
template <int kByte>
STROBE_INLINE U32 gather_bytes(U32 a, U32 b, U32 c, U32 d) {
  return halves(gather_bytes<kByte>(a, b, AllLanes{}), gather_bytes<kByte>(c, d, AllLanes{}), HalfOfEach{});
}
template <bool kStream>
STROBE_INLINE void put_four(e4m3_t* p, F32 a, F32 b, F32 c, F32 d) {
  constexpr e4m3_t k{};
  const U32 magnitudes = gather_bytes<0>(magnitude_in_lane(k, a), magnitude_in_lane(k, b),
                                         magnitude_in_lane(k, c), magnitude_in_lane(k, d));
  const U32 signs = gather_bytes<3>(bits(a), bits(b), bits(c), bits(d));
  put<kStream>(reinterpret_cast<float*>(p), from_bits((magnitudes & 0x7f7f7f7fu) | (signs & 0x80808080u)));
}
#endif
template <bool kStream, class T>
STROBE_INLINE void put_four(T* p, F32 a, F32 b, F32 c, F32 d) {
  put_two<kStream>(p, a, b);
  put_two<kStream>(p + 2 * kLanes, c, d);
}

inline constexpr int kLine = 64;  // bytes that a prefetch brings

// How a step over a row whose elements are mainly of type T reaches memory: kVectors vectors from an address
// on.
template <class T, int kPairs = 1>
struct FullVectors {
  static constexpr int kVectors = 2 * kPairs;
#if defined(STROBE_SIMD_PACKS_BF16)
  static constexpr bool kParted = false;
#else
  static constexpr bool kParted = __is_same(T, bf16_t);
#endif

  template <class Element>
  STROBE_INLINE void load(const Element* p, F32 (&x)[kVectors]) {
    for (int u = 0; u < kVectors; u += 2) {
      if constexpr (kParted) {
        load_pairs(p + u * kLanes, x[u], x[u + 1]);
      } else {
        load_two(p + u * kLanes, x[u], x[u + 1]);
      }
    }
  }
  // kStream: past the caches; `p` is aligned to 4 * kLanes bytes.
  template <bool kStream, class Element>
  STROBE_INLINE void store(Element* p, const F32 (&x)[kVectors]) {
    if constexpr (kParted) {
      for (int u = 0; u < kVectors; u += 2) put_pairs<kStream>(p + u * kLanes, x[u], x[u + 1]);
    } else {
      int u = 0;
      for (; u + 4 <= kVectors; u += 4) put_four<kStream>(p + u * kLanes, x[u], x[u + 1], x[u + 2], x[u + 3]);
      for (; u < kVectors; u += 2) put_two<kStream>(p + u * kLanes, x[u], x[u + 1]);
    }
  }
  template <class Element>
  STROBE_INLINE void prefetch(const Element* p) {
    for (int byte = 0; byte < kVectors * kLanes * static_cast<int>(sizeof(Element)); byte += kLine)
      STROBE_ISA::prefetch(reinterpret_cast<const char*>(p) + byte);
  }
  template <class Element>
  STROBE_INLINE void prefetch_far(const Element* p) {
    for (int byte = 0; byte < kVectors * kLanes * static_cast<int>(sizeof(Element)); byte += kLine)
      STROBE_ISA::prefetch_far(reinterpret_cast<const char*>(p) + byte);
  }
  // x in the lanes that a load takes from memory: all.
  STROBE_INLINE F32 loaded(F32 x) { return x; }
};

// The first `lanes` elements; lanes beyond them are loaded as 0.
struct PartOfVector {
  static constexpr int kVectors = 1;
  int lanes;

  template <class Element>
  __attribute__((always_inline)) void load(const Element* p, F32 (&x)[1]) const {
    x[0] = load_n(p, lanes);
  }
  template <bool, class Element>
  __attribute__((always_inline)) void store(Element* p, const F32 (&x)[1]) const {
    store_n(p, x[0], lanes);
  }
  template <class Element>
  STROBE_INLINE void prefetch(const Element*) {}
  template <class Element>
  STROBE_INLINE void prefetch_far(const Element*) {}
  // x in the lanes that a load takes from memory, 0 in the others.
  __attribute__((always_inline)) F32 loaded(F32 x) const { return select(first_lanes(lanes), x, F32{}); }
};

STROBE_INLINE PartOfVector part_of_vector(int64_t left) {
  return {left < kLanes ? static_cast<int>(left) : kLanes};
}

// Calls step(access, i) for the elements from i on, until all `size` are done. kPairs pairs of vectors a step
// where the arithmetic's latency needs company.
template <class T, int kPairs = 1, class Step>
STROBE_INLINE void for_each_vectors(int64_t size, Step step) {
  int64_t i = 0;
  if constexpr (kPairs > 1)
    for (; i + 2 * kPairs * kLanes <= size; i += 2 * kPairs * kLanes) step(FullVectors<T, kPairs>{}, i);
  for (; i + 2 * kLanes <= size; i += 2 * kLanes) step(FullVectors<T>{}, i);
  for (; i < size; i += kLanes) step(part_of_vector(size - i), i);
}

// The sum over all lanes of what term(access, i, sum) adds to `sum`, an array of access's vectors. Four
// partial sums hide the adder's latency.
template <class T, class Term>
STROBE_INLINE float sum_row(int64_t size, Term term) {
  F32 sum[2][2] = {}, rest[1] = {};
  int64_t i = 0;
  for (; i + 4 * kLanes <= size; i += 4 * kLanes) {
    term(FullVectors<T>{}, i, sum[0]);
    term(FullVectors<T>{}, i + 2 * kLanes, sum[1]);
  }
  for (; i < size; i += kLanes) term(part_of_vector(size - i), i, rest);
  return reduce_add((sum[0][0] + sum[0][1]) + (sum[1][0] + sum[1][1]) + rest[0]);
}

// Whether rows from this address on may be stored past the caches.
STROBE_INLINE bool streamable(const void* p) { return reinterpret_cast<uintptr_t>(p) % (4 * kLanes) == 0; }

}  // namespace strobe::cpu::STROBE_ISA
