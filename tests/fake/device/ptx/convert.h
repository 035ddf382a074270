// Stands in for kernels/ptx/convert.h, whose arithmetic it keeps: what is an instruction there is a
// conversion of the library's here.
#pragma once

#define pair_of pair_of_by_instructions
#define floats_of floats_of_by_instructions
#define f16_pairs_of f16_pairs_of_by_instructions
#define four_of_e4m3 four_of_e4m3_by_instructions
#include_next "ptx/convert.h"
#undef pair_of
#undef floats_of
#undef f16_pairs_of
#undef four_of_e4m3

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

EMULATED uint32_t four_of_e4m3(float x0, float x1, float x2, float x3) {
  return pair_of<Dtype::kE4m3>(x0, x1) | pair_of<Dtype::kE4m3>(x2, x3) << 16;
}

template <Dtype kDtype>
EMULATED void floats_of(uint32_t pair, float& first, float& second) {
  static_assert(size_of(kDtype) == 2);
  first = emulated::machine->widen(pair & 0xffff, static_cast<int>(kDtype));
  second = emulated::machine->widen(pair >> 16, static_cast<int>(kDtype));
}

template <Dtype kDtype>
EMULATED uint32_t f16_of(uint32_t fp8) {
  const float value = emulated::machine->widen(fp8 & 0xff, static_cast<int>(kDtype));
  return emulated::machine->narrow(value, static_cast<int>(Dtype::kF16));
}

template <Dtype kDtype>
EMULATED void f16_pairs_of(uint32_t four, uint32_t& first, uint32_t& second) {
#if __CUDA_ARCH__ >= 890
  if constexpr (kDtype == Dtype::kE4m3) {
    first = f16_of<kDtype>(four) | f16_of<kDtype>(four >> 8) << 16;
    second = f16_of<kDtype>(four >> 16) | f16_of<kDtype>(four >> 24) << 16;
    return;
  }
#endif
  f16_pairs_by_bits<kDtype>(four, first, second);
}

}  // namespace strobe::kernel
