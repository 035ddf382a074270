// Stands in for kernels/ptx/convert.h, whose arithmetic it keeps: what is an instruction there is a
// conversion of the library's here.
#pragma once

#define pair_of pair_of_by_instructions
#define floats_of floats_of_by_instructions
#include_next "ptx/convert.h"
#undef pair_of
#undef floats_of

namespace strobe::kernel {

EMULATED uint32_t narrow(Dtype dtype, float x) {
  return emulated::machine->narrow(x, static_cast<int>(dtype));
}

template <Dtype kDtype>
EMULATED uint32_t pair_of(float first, float second) {
#if __CUDA_ARCH__ < 890
  if constexpr (size_of(kDtype) == 1) return fp8_of<kDtype>(first) | fp8_of<kDtype>(second) << 8;
#endif
  return narrow(kDtype, first) | narrow(kDtype, second) << 8 * size_of(kDtype);
}

template <Dtype kDtype>
EMULATED void floats_of(uint32_t pair, float& first, float& second) {
  static_assert(size_of(kDtype) == 2);
  first = emulated::machine->widen(pair & 0xffff, static_cast<int>(kDtype));
  second = emulated::machine->widen(pair >> 16, static_cast<int>(kDtype));
}

}  // namespace strobe::kernel
