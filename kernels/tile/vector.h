// Consecutive elements that one thread moves and converts together.
#pragma once

#include "ptx/convert.h"
#include "ptx/memory.h"
#include "tile/dtype.h"

namespace strobe::kernel {

// kCount elements (a power of two) as they lie in memory, in accesses of up to 16 bytes. Aligned so that it
// moves with such accesses in shared memory, too.
template <Dtype kDtype, int kCount>
struct alignas(kCount* size_of(kDtype) >= 16   ? 16
               : kCount * size_of(kDtype) >= 4 ? kCount * size_of(kDtype)
                                               : 4) Vector {
  static constexpr int kBytes = kCount * size_of(kDtype);
  static constexpr int kAccessBytes = kBytes < 16 ? kBytes : 16;
  static constexpr int kAccesses = kBytes / kAccessBytes;
  static constexpr int kWords = (kBytes + 3) / 4;
  static constexpr int kAccessWords = (kAccessBytes + 3) / 4;
  uint32_t word[kWords];
};

// `address` is a multiple of kAccessBytes.
template <Dtype kDtype, int kCount>
STROBE_DEVICE void load(Vector<kDtype, kCount>& x, const char* address) {
  using V = Vector<kDtype, kCount>;
#pragma unroll
  for (int i = 0; i < V::kAccesses; ++i) {
    const auto access = load<V::kAccessBytes>(address + i * V::kAccessBytes);
#pragma unroll
    for (int w = 0; w < V::kAccessWords; ++w) x.word[i * V::kAccessWords + w] = access.word[w];
  }
}

// Of what the block reads twice (ptx/memory.h).
template <Turn kTurn, Dtype kDtype, int kCount>
STROBE_DEVICE void load_in_turn(Vector<kDtype, kCount>& x, const char* address) {
  if constexpr (Vector<kDtype, kCount>::kBytes == 16) {
    const Access<16> access = load_in_turn<kTurn>(address);
#pragma unroll
    for (int w = 0; w < 4; ++w) x.word[w] = access.word[w];
  } else {
    load(x, address);
  }
}

template <Dtype kDtype, int kCount>
STROBE_DEVICE void store(char* address, const Vector<kDtype, kCount>& x) {
  using V = Vector<kDtype, kCount>;
#pragma unroll
  for (int i = 0; i < V::kAccesses; ++i) {
    Access<V::kAccessBytes> access;
#pragma unroll
    for (int w = 0; w < V::kAccessWords; ++w) access.word[w] = x.word[i * V::kAccessWords + w];
    store(address + i * V::kAccessBytes, access);
  }
}

// The neighbours' vectors of consecutive threads, whose address is given in each: one thread of a line asks.
template <Dtype kDtype, int kCount>
STROBE_DEVICE void prefetch(const char* address) {
  constexpr int kLineBytes = 128, kThreads = kLineBytes / Vector<kDtype, kCount>::kBytes;
  if (threadIdx.x % kThreads == 0) prefetch_to_l2(address);
}

template <Dtype kDtype, int kCount>
STROBE_DEVICE void unpack(const Vector<kDtype, kCount>& x, float (&values)[kCount]) {
  static_assert(size_of(kDtype) >= 2, "nothing computes on 8-bit floats");
  if constexpr (kDtype == Dtype::kF32) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) values[i] = float_of(x.word[i]);
  } else if constexpr (kCount == 1) {
    float nothing;
    floats_of<kDtype>(x.word[0], values[0], nothing);
  } else {
#pragma unroll
    for (int i = 0; i < kCount; i += 2) floats_of<kDtype>(x.word[i / 2], values[i], values[i + 1]);
  }
}

template <Dtype kDtype, int kCount>
STROBE_DEVICE Vector<kDtype, kCount> pack(const float (&values)[kCount]) {
  Vector<kDtype, kCount> x;
  if constexpr (kDtype == Dtype::kF32) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) x.word[i] = bits_of(values[i]);
  } else if constexpr (kCount == 1) {
    x.word[0] = pair_of<kDtype>(values[0], 0.0f);
  } else if constexpr (size_of(kDtype) == 2) {
#pragma unroll
    for (int i = 0; i < kCount; i += 2) x.word[i / 2] = pair_of<kDtype>(values[i], values[i + 1]);
  } else {
#pragma unroll
    for (int i = 0; i < kCount; i += 2) {
      const uint32_t pair = pair_of<kDtype>(values[i], values[i + 1]);
      x.word[i / 4] = i % 4 == 0 ? pair : x.word[i / 4] | pair << 16;
    }
  }
  return x;
}

// kStep consecutive elements, whole words or all there are, from element `at` on. Kernels that are short of
// registers convert and compute part by part.
template <int kStep, Dtype kDtype, int kCount>
STROBE_DEVICE Vector<kDtype, kStep> part_of(const Vector<kDtype, kCount>& x, int at) {
  static_assert(kStep == kCount || kStep * size_of(kDtype) % 4 == 0);
  Vector<kDtype, kStep> part;
#pragma unroll
  for (int w = 0; w < part.kWords; ++w) part.word[w] = x.word[at * size_of(kDtype) / 4 + w];
  return part;
}

template <int kStep, Dtype kDtype, int kCount>
STROBE_DEVICE void set_part(Vector<kDtype, kCount>& x, int at, const Vector<kDtype, kStep>& part) {
#pragma unroll
  for (int w = 0; w < part.kWords; ++w) x.word[at * size_of(kDtype) / 4 + w] = part.word[w];
}

}  // namespace strobe::kernel
