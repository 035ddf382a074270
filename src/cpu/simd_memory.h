// Loads and stores of f32 vectors from and to memory of any float element type. Included by simd.h.
// T is float, f16_t, bf16_t, e4m3_t or e5m2_t; addresses need only the alignment of T unless said otherwise.
#pragma once

#include "cpu/simd.h"

namespace strobe::cpu::STROBE_ISA {

// The stored bits of kLanes elements.
template <class T>
STROBE_INLINE Bits<T> load_bits(const T* p) {
  Bits<T> r;
  __builtin_memcpy(&r, p, sizeof r);
  return r;
}
template <class T>
STROBE_INLINE void store_bits(T* p, Bits<T> x) {
  __builtin_memcpy(p, &x, sizeof x);
}

#if defined(STROBE_SIMD_AVX512)
// Masked moves read and write only the first n lanes; lanes beyond neither fault nor race.
template <class T>
STROBE_INLINE Bits<T> load_bits_n(const T* p, int n) {
  const uint16_t mask = static_cast<uint16_t>((1u << n) - 1);
  Bits<T> r;
  const Bits<T>* memory = reinterpret_cast<const Bits<T>*>(p);
  if constexpr (sizeof(T) == 4)
    asm("vmovups %1, %0%{%2%}%{z%}" : "=v"(r) : "m"(*memory), "Yk"(mask));
  else if constexpr (sizeof(T) == 2)
    asm("vmovdqu16 %1, %0%{%2%}%{z%}" : "=v"(r) : "m"(*memory), "Yk"(mask));
  else
    asm("vmovdqu8 %1, %0%{%2%}%{z%}" : "=v"(r) : "m"(*memory), "Yk"(mask));
  return r;
}
template <class T>
STROBE_INLINE void store_bits_n(T* p, Bits<T> x, int n) {
  const uint16_t mask = static_cast<uint16_t>((1u << n) - 1);
  Bits<T>* memory = reinterpret_cast<Bits<T>*>(p);
  if constexpr (sizeof(T) == 4)
    asm volatile("vmovups %1, %0%{%2%}" : "+m"(*memory) : "v"(x), "Yk"(mask));
  else if constexpr (sizeof(T) == 2)
    asm volatile("vmovdqu16 %1, %0%{%2%}" : "+m"(*memory) : "v"(x), "Yk"(mask));
  else
    asm volatile("vmovdqu8 %1, %0%{%2%}" : "+m"(*memory) : "v"(x), "Yk"(mask));
}
#else
template <class T>
STROBE_INLINE Bits<T> load_bits_n(const T* p, int n) {
  Bits<T> r = {};
  __builtin_memcpy(&r, p, sizeof(T) * static_cast<size_t>(n));
  return r;
}
template <class T>
STROBE_INLINE void store_bits_n(T* p, Bits<T> x, int n) {
  __builtin_memcpy(p, &x, sizeof(T) * static_cast<size_t>(n));
}
#endif

template <class T>
STROBE_INLINE F32 load(const T* p) {
  return widen(T{}, load_bits(p));
}
template <class T>
STROBE_INLINE void store(T* p, F32 x) {
  store_bits(p, narrow(T{}, x));
}

// The first n lanes, 0 <= n <= kLanes. `load_n` fills the rest with zeros; neither touches memory beyond
// element n - 1.
template <class T>
STROBE_INLINE F32 load_n(const T* p, int n) {
  return widen(T{}, load_bits_n(p, n));
}
template <class T>
STROBE_INLINE void store_n(T* p, F32 x, int n) {
  store_bits_n(p, narrow(T{}, x), n);
}

// One element.
STROBE_INLINE float load_one(const float* p) { return *p; }
template <class T>
STROBE_INLINE float load_one(const T* p) {
  return load_n(p, 1)[0];
}
template <class T>
STROBE_INLINE void store_one(T* p, float x) {
  store_n(p, splat(x), 1);
}

// A store that goes past the caches: for outputs larger than the last-level cache, which nobody reads soon.
// `p` is aligned to kLanes elements. Call stream_fence() before another thread may read. Where the level has
// no such store of that size (and on aarch64) it is an ordinary store.
template <class T>
STROBE_INLINE void stream_bits(T* p, Bits<T> value) {
#if defined(STROBE_SIMD_AVX512) || defined(STROBE_SIMD_AVX2)
  if constexpr (sizeof value >= 16) {
    asm volatile("vmovntps %1, %0" : "=m"(*reinterpret_cast<Bits<T>*>(p)) : "v"(value));
    return;
  }
#elif defined(__x86_64__)
  if constexpr (sizeof value == 16) {
    asm volatile("movntps %1, %0" : "=m"(*reinterpret_cast<Bits<T>*>(p)) : "x"(value));
    return;
  }
#endif
#if defined(__x86_64__)
  if constexpr (sizeof value == 8) {
    asm volatile("movnti %1, %0" : "=m"(*reinterpret_cast<uint64_t*>(p)) : "r"((uint64_t)value));
    return;
  } else if constexpr (sizeof value == 4) {
    asm volatile("movnti %1, %0" : "=m"(*reinterpret_cast<uint32_t*>(p)) : "r"((uint32_t)value));
    return;
  }
#endif
  store_bits(p, value);
}
template <class T>
STROBE_INLINE void stream(T* p, F32 x) {
  stream_bits(p, narrow(T{}, x));
}

STROBE_INLINE void stream_fence() {
#if defined(__x86_64__)
  asm volatile("sfence" ::: "memory");
#endif
}

}  // namespace strobe::cpu::STROBE_ISA
