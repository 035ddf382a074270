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

template <bool kStream, class T>
STROBE_INLINE void put_two(T* p, F32 a, F32 b) {
  put<kStream>(p, a);
  put<kStream>(p + kLanes, b);
}
#if defined(STROBE_SIMD_PACKS_BF16)
template <bool kStream>
STROBE_INLINE void put_two(bf16_t* p, F32 a, F32 b) {
  put<kStream>(reinterpret_cast<float*>(p), from_bits(pack_bf16(a, b)));
}
#endif

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
        x[u] = STROBE_ISA::load(p + u * kLanes);
        x[u + 1] = STROBE_ISA::load(p + (u + 1) * kLanes);
      }
    }
  }
  // kStream: past the caches; `p` is aligned to 4 * kLanes bytes.
  template <bool kStream, class Element>
  STROBE_INLINE void store(Element* p, const F32 (&x)[kVectors]) {
    for (int u = 0; u < kVectors; u += 2) {
      if constexpr (kParted)
        put_pairs<kStream>(p + u * kLanes, x[u], x[u + 1]);
      else
        put_two<kStream>(p + u * kLanes, x[u], x[u + 1]);
    }
  }
  template <class Element>
  STROBE_INLINE void prefetch(const Element* p) {
    constexpr int kLine = 64;
    for (int byte = 0; byte < kVectors * kLanes * static_cast<int>(sizeof(Element)); byte += kLine)
      STROBE_ISA::prefetch(reinterpret_cast<const char*>(p) + byte);
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
