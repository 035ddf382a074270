// Stands in for kernels/ptx/mma.h: the last lane to come multiplies for all. The sums are in the order of k.
#pragma once

#include "tile/dtype.h"
#include "tile/ints.h"

namespace strobe::kernel {

struct MmaOperands {
  float* d;
  const uint32_t *a, *b;
};

EMULATED const MmaOperands& operands_of(void* const* lanes, int lane) {
  return *static_cast<const MmaOperands*>(lanes[lane]);
}

// Element k of those that a word's pair is part of.
EMULATED float element_of_pair(uint32_t word, int k, Dtype dtype) {
  return emulated::machine->widen(k % 2 == 0 ? word & 0xffff : word >> 16, static_cast<int>(dtype));
}

template <Dtype kDtype>
EMULATED void multiply_matrices(void* const* lanes) {
  float a[16][16], b[16][8];
  for (int k = 0; k < 16; ++k) {
    const int c = k % 8 / 2;
    for (int row = 0; row < 16; ++row)
      a[row][k] = element_of_pair(operands_of(lanes, row % 8 * 4 + c).a[row / 8 + k / 8 * 2], k, kDtype);
    for (int column = 0; column < 8; ++column)
      b[k][column] = element_of_pair(operands_of(lanes, column * 4 + c).b[k / 8], k, kDtype);
  }
  for (int row = 0; row < 16; ++row)
    for (int column = 0; column < 8; ++column) {
      float& d = operands_of(lanes, row % 8 * 4 + column / 2).d[row / 8 * 2 + column % 2];
      for (int k = 0; k < 16; ++k) d += a[row][k] * b[k][column];
    }
}

template <Dtype kDtype>
EMULATED void mma_16x8x16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  static_assert(kDtype == Dtype::kF16 || kDtype == Dtype::kBf16);
  const uint32_t b[2] = {b0, b1};
  MmaOperands operands{d, a, b};
  emulated::machine->meet(0xffffffff, &operands, multiply_matrices<kDtype>);
}

template <Dtype kDtype>
EMULATED void mma_16x8x16_first(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  for (float& x : d) x = 0;
  mma_16x8x16<kDtype>(d, a, b0, b1);
}

}  // namespace strobe::kernel
