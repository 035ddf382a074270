// Loads and stores that part neighbouring elements: even ones in one vector, odd ones in another.
#pragma once

#include "cpu/simd.h"

namespace strobe::cpu::STROBE_ISA {

template <bool kStream, class T>
STROBE_INLINE void put(T* p, F32 x) {
  if constexpr (kStream)
    stream(p, x);
  else
    store(p, x);
}

template <int... kLane>
STROBE_INLINE F32 even_of(F32 a, F32 b, LaneList<kLane...>) {
  return __builtin_shufflevector(a, b, (2 * kLane)...);
}
template <int... kLane>
STROBE_INLINE F32 odd_of(F32 a, F32 b, LaneList<kLane...>) {
  return __builtin_shufflevector(a, b, (2 * kLane + 1)...);
}
template <int... kLane>
STROBE_INLINE F32 low_pairs_of(F32 even, F32 odd, LaneList<kLane...>) {
  return __builtin_shufflevector(even, odd, (kLane / 2 + kLane % 2 * kLanes)...);
}
template <int... kLane>
STROBE_INLINE F32 high_pairs_of(F32 even, F32 odd, LaneList<kLane...>) {
  return __builtin_shufflevector(even, odd, ((kLane + kLanes) / 2 + kLane % 2 * kLanes)...);
}

// Elements p[0], p[2], … and p[1], p[3], … of 2 * kLanes.
template <class T>
STROBE_INLINE void load_pairs(const T* p, F32& even, F32& odd) {
  const F32 a = load(p), b = load(p + kLanes);
  even = even_of(a, b, AllLanes{});
  odd = odd_of(a, b, AllLanes{});
}
template <bool kStream, class T>
STROBE_INLINE void put_pairs(T* p, F32 even, F32 odd) {
  put<kStream>(p, low_pairs_of(even, odd, AllLanes{}));
  put<kStream>(p + kLanes, high_pairs_of(even, odd, AllLanes{}));
}

// Two bf16 are a 32-bit word, the second one in its upper half: no lane moves.
STROBE_INLINE void load_pairs(const bf16_t* p, F32& even, F32& odd) {
  U32 words;
  __builtin_memcpy(&words, p, sizeof words);
  even = from_bits(words << 16);
  odd = from_bits(words & 0xffff0000u);
}

#if defined(STROBE_SIMD_PACKS_BF16)
// Places in a packed vector whose low half holds the even elements.
template <int... kLane>
STROBE_INLINE U32 interleaved_places(LaneList<kLane...>) {
  return U32{(kLane | (kLane + kLanes) << 16)...};
}
template <bool kStream>
STROBE_INLINE void put_pairs(bf16_t* p, F32 even, F32 odd) {
  U32 words;
  asm("vpermw %1, %2, %0" : "=v"(words) : "v"(pack_bf16(even, odd)), "v"(interleaved_places(AllLanes{})));
  put<kStream>(reinterpret_cast<float*>(p), from_bits(words));
}
#else
// Rounded as narrow(bf16_t, x) does, in the upper half of each lane; the lower halves hold no value.
STROBE_INLINE U32 round_to_bf16(F32 x) {
  const U32 u = bits(x);
  return select(x != x, u | 0x400000u, u + 0x7fff + ((u >> 16) & 1));
}
template <bool kStream>
STROBE_INLINE void put_pairs(bf16_t* p, F32 even, F32 odd) {
  const U32 words = (round_to_bf16(even) >> 16) | (round_to_bf16(odd) & 0xffff0000u);
  put<kStream>(reinterpret_cast<float*>(p), from_bits(words));
}
#endif

// Two 8-bit floats are a 16-bit word.
template <bool kStream, class T>
requires(sizeof(T) == 1) STROBE_INLINE void put_pairs(T* p, F32 even, F32 odd) {
  const U16 words = to_u16((narrow_in_lane(T{}, even) & 0xff) | narrow_in_lane(T{}, odd) << 8);
  if constexpr (kStream)
    stream_bits(reinterpret_cast<bf16_t*>(p), words);
  else
    store_bits(reinterpret_cast<bf16_t*>(p), words);
}

}  // namespace strobe::cpu::STROBE_ISA
