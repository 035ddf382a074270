// Stands in for kernels/ptx/wgmma.h: products are computed when a warp waits for them.
#pragma once

#include "ptx/shared_address.h"
#include "tile/dtype.h"

namespace strobe::kernel {

inline constexpr int kPanelRowBytes = 128, kEightRowsBytes = 8 * kPanelRowBytes;

using MatrixPlace = emulated::MatrixPlace;

template <int kRowBytes = kPanelRowBytes>
EMULATED MatrixPlace place_along_k(SharedAddress address, uint32_t eight_rows_bytes) {
  return {address, 0, eight_rows_bytes, kRowBytes, false};
}
EMULATED MatrixPlace place_across_k(SharedAddress address, uint32_t panel_bytes, uint32_t eight_rows_bytes) {
  return {address, panel_bytes, eight_rows_bytes, kPanelRowBytes, true};
}

template <int kBytes>
EMULATED MatrixPlace advance(MatrixPlace place, int32_t count = 1) {
  place.address += static_cast<unsigned long>(static_cast<long>(count) * kBytes);
  return place;
}

EMULATED void begin_products() { emulated::machine->begin_products(); }
EMULATED void end_products() { emulated::machine->end_products(); }

template <int kGroups>
EMULATED void wait_for_products() {
  emulated::machine->wait_for_products(kGroups);
}

template <int kSums>
EMULATED void fence_sums(float (&)[kSums]) {}

template <Dtype kType, int kSums>
EMULATED void multiply(float (&d)[kSums], MatrixPlace a, MatrixPlace b, bool add) {
  static_assert(size_of(kType) == 2 || kType == Dtype::kE4m3);
  emulated::machine->multiply({d, {}, a, b, 2 * kSums, static_cast<int>(kType), add});
}

template <Dtype kType, int kSums>
EMULATED void multiply(float (&d)[kSums], const uint32_t (&a)[4], MatrixPlace b, bool add) {
  static_assert(size_of(kType) == 2 || kType == Dtype::kE4m3);
  emulated::machine->multiply({d, {a[0], a[1], a[2], a[3]}, {}, b, 2 * kSums, static_cast<int>(kType), add});
}

}  // namespace strobe::kernel
