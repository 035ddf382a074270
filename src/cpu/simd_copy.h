// Copies of rows.
#pragma once

#include "cpu/simd.h"

namespace strobe::cpu::STROBE_ISA {

// `bytes` from `in` to `out`, which do not overlap; with kStream past the caches where `out` is aligned to a vector (call stream_fence()
// before another thread may read).
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
