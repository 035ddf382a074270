// Packing of booleans into bits, as attention masks are stored.
#pragma once

#include <cstdint>

#include "strobe/device.h"
#include "strobe/export.h"
#include "strobe/tensor.h"

namespace strobe::inline v1 {

// Where the first of eight elements goes: into the highest bit of the byte, or into the lowest. Attention
// masks are little.
enum class BitOrder { kBig, kLittle };

struct PackbitsArgs {
  TensorView x;  // [num_elements], bool or u8: a bit is set where the element is not 0
  TensorView y;  // [num_bytes], u8; num_bytes = ceil(num_elements / 8)
  BitOrder bitorder = BitOrder::kBig;
};

// y[j] = the bits of x[8 j] … x[8 j + 7]; bits beyond the last element are 0.
// Throws Error(kInvalidArgument) on shapes, dtypes, strides or overlaps other than stated.
STROBE_API void packbits(const PackbitsArgs& args, const Launch& launch = {});

struct SegmentPackbitsArgs {
  TensorView x;              // [num_elements], bool or u8: a bit is set where the element is not 0
  TensorView indptr;         // [batch_size + 1], i32: segment i is the elements [indptr[i], indptr[i + 1])
  TensorView packed_indptr;  // [batch_size + 1], i32, from segment_packbits_indptr: segment i's bytes of y
  TensorView y;              // [num_bytes], u8; num_bytes = packed_indptr[batch_size]
  BitOrder bitorder = BitOrder::kBig;
};

// Packs every segment for itself, so that each begins with a byte of its own.
// Throws Error(kInvalidArgument) on shapes, dtypes, strides or overlaps other than stated, and when the index
// arrays are not as stated or do not match x, y and each other. Index arrays on a GPU are not checked; what
// is packed by wrong ones is unspecified, and nothing outside x and y is touched.
STROBE_API void segment_packbits(const SegmentPackbitsArgs& args, const Launch& launch = {});

// Where the packed segments begin, in bytes:
//   packed_indptr[0] = 0,  packed_indptr[i + 1] = packed_indptr[i] + ceil((indptr[i + 1] - indptr[i]) / 8)
// Both are [batch_size + 1], i32, in host memory. Returns num_bytes, the size of segment_packbits's y.
// Throws Error(kInvalidArgument) when indptr does not begin with 0 or decreases.
STROBE_API std::int64_t segment_packbits_indptr(const TensorView& indptr, const TensorView& packed_indptr);

}  // namespace strobe::inline v1
