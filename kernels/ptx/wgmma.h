// Matrix products of a warpgroup, 128 threads (wgmma, sm_90a): D[64 x N] += A[64 x 16] B[16 x N], of f16 or
// bf16, or A[64 x 32] B[32 x N] of e4m3, with f32 sums. B lies in shared memory, A there too or in registers.
// Products run by themselves, in order:
//   begin_products(); multiply(…); …; end_products(); …; wait_for_products<kGroups>(); fence_sums(d);
// All threads of the warpgroup take part; in between nobody touches d and A's registers, and B stays as it
// is.
//
// Thread 32 w + 4 g + c holds d[4 j + 2 h + i] = D[16 w + 8 h + g][8 j + 2 c + i], and of an A in registers
//   a[0] = A[16 w + g][2c, 2c + 1], a[1] = that of row + 8, a[2] and a[3] = those of column + 8;
//   of e4m3 a[0] = A[16 w + g][4c … 4c + 3], and a[2] and a[3] are those of column + 16.
//
// Operands in shared memory are made of panels whose rows are 128 bytes, permuted as
// ptx/tensor_copy.h says; panels, and every eight rows of one, begin at multiples of 1024 bytes.
#pragma once

#include "ptx/shared_address.h"
#include "ptx/wgmma_forms.h"
#include "tile/dtype.h"

namespace strobe::kernel {

inline constexpr int kPanelRowBytes = 128, kEightRowsBytes = 8 * kPanelRowBytes;

// Where an operand lies, as the instruction takes it: address, leading and stride distance in units of 16
// bytes, and how its rows are permuted.
struct MatrixPlace {
  uint64_t bits;
};

inline constexpr int kPlaceUnit = 16;

template <int kRowBytes>
STROBE_DEVICE MatrixPlace matrix_place(SharedAddress address, uint32_t leading_bytes,
                                       uint32_t eight_rows_bytes) {
  static_assert(kRowBytes == kPanelRowBytes || kRowBytes == 32);
  constexpr uint64_t kPermuted = kRowBytes == kPanelRowBytes ? 1 : 3;
  return {static_cast<uint64_t>((address & 0x3ffff) / kPlaceUnit) |
          static_cast<uint64_t>(leading_bytes / kPlaceUnit) << 16 |
          static_cast<uint64_t>(eight_rows_bytes / kPlaceUnit) << 32 | kPermuted << 62};
}

// Rows of A, or columns of B, are rows of the panel, which run along K: 32 of its bytes from the address on.
// The next eight rows lie eight_rows_bytes further on. Rows may have 32 bytes, too: within every 256 bytes,
// chunk c of row r is then at c ^ r / 4.
template <int kRowBytes = kPanelRowBytes>
STROBE_DEVICE MatrixPlace place_along_k(SharedAddress address, uint32_t eight_rows_bytes) {
  return matrix_place<kRowBytes>(address, 0, eight_rows_bytes);
}

// Not of e4m3. Rows of B are rows of panels; the next 64 columns lie panel_bytes further on, the next eight
// rows eight_rows_bytes.
STROBE_DEVICE MatrixPlace place_across_k(SharedAddress address, uint32_t panel_bytes,
                                         uint32_t eight_rows_bytes) {
  return matrix_place<kPanelRowBytes>(address, panel_bytes, eight_rows_bytes);
}

// The place `count` times kBytes further on.
template <int kBytes>
STROBE_DEVICE MatrixPlace advance(MatrixPlace place, int32_t count = 1) {
  static_assert(kBytes % kPlaceUnit == 0);
  return {place.bits + static_cast<uint64_t>(count * (kBytes / kPlaceUnit))};
}

STROBE_DEVICE void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

// The products since the last group become a group.
STROBE_DEVICE void end_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Until at most kGroups groups are under way: for this warp, which does not speak for the others of its
// warpgroup.
template <int kGroups>
STROBE_DEVICE void wait_for_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kGroups) : "memory");
}

// No instruction: without it the compiler may move reads of sums above the wait that makes them valid.
template <int kSums>
STROBE_DEVICE void fence_sums(float (&d)[kSums]) {
#pragma unroll
  for (int i = 0; i < kSums; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

// D += A B, or D = A B without `add`; N = 2 kSums. Both along K, in shared memory.
template <Dtype kType, int kSums>
STROBE_DEVICE void multiply(float (&d)[kSums], MatrixPlace a, MatrixPlace b, bool add) {
  ProductForm<2 * kSums>::template shared<kType>(d, a.bits, b.bits, add);
}

// The same with A in registers and B across K, of e4m3 along K.
template <Dtype kType, int kSums>
STROBE_DEVICE void multiply(float (&d)[kSums], const uint32_t (&a)[4], MatrixPlace b, bool add) {
  ProductForm<2 * kSums>::template registers<kType>(d, a, b.bits, add);
}

}  // namespace strobe::kernel
