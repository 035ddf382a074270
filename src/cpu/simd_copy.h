// Copies of rows, and reading ahead of them.
#pragma once

#include "cpu/simd.h"

namespace strobe::cpu::STROBE_ISA {

// How far ahead kernels fetch rows that they read in order while they store to several places, which keeps
// the processor from reading ahead by itself. Further ahead is slower again.
inline constexpr int64_t kReadAheadBytes = 2 << 10;

// The number of rows of that size that kReadAheadBytes are, at least 1.
STROBE_INLINE int64_t rows_ahead(int64_t row_bytes) {
  return row_bytes > 0 && row_bytes < kReadAheadBytes ? kReadAheadBytes / row_bytes : 1;
}

// Brings `bytes` from `p` on into the first-level cache; any address is allowed.
STROBE_INLINE void prefetch_bytes(const void* p, int64_t bytes) {
  for (int64_t line = 0; line < bytes; line += 64) prefetch(static_cast<const char*>(p) + line);
}

// `bytes` from `in` to `out`, which do not overlap; with kStream past the caches where `out` is aligned to a
// vector (call stream_fence() before another thread may read).
template <bool kStream>
STROBE_INLINE void copy_bytes(void* out, const void* in, int64_t bytes) {
  constexpr int64_t kBytes = sizeof(F32);
  char* to = static_cast<char*>(out);
  const char* from = static_cast<const char*>(in);
  const bool aligned = reinterpret_cast<uintptr_t>(to) % kBytes == 0;
  int64_t i = 0;
  for (; i + kBytes <= bytes; i += kBytes) {
    F32 x;
    __builtin_memcpy(&x, from + i, kBytes);
    if (kStream && aligned)
      stream(reinterpret_cast<float*>(to + i), x);
    else
      __builtin_memcpy(to + i, &x, kBytes);
  }
  if (i < bytes) __builtin_memcpy(to + i, from + i, static_cast<size_t>(bytes - i));
}

}  // namespace strobe::cpu::STROBE_ISA
