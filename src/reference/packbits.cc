#include "reference/packbits.h"

#include "core/read.h"

namespace strobe::reference {
namespace {

// The byte of up to eight elements of x in [begin, end).
double packed_byte(const TensorView& x, std::int64_t begin, std::int64_t end, BitOrder order) {
  int byte = 0;
  for (std::int64_t i = begin; i < end && i < begin + 8; ++i) {
    const int bit = static_cast<int>(i - begin);
    if (read(x, i) != 0) byte |= 1 << (order == BitOrder::kBig ? 7 - bit : bit);
  }
  return byte;
}

}  // namespace

void packbits(const PackbitsArgs& args, op::Expected& expected) {
  double* y = expected[0].values.data();
  for (std::int64_t byte : expected[0].rows)
    *y++ = packed_byte(args.x, byte * 8, args.x.shape[0], args.bitorder);
}

void segment_packbits(const SegmentPackbitsArgs& args, op::Expected& expected) {
  double* y = expected[0].values.data();
  std::int64_t segment = 0;
  for (std::int64_t byte : expected[0].rows) {  // ascending
    while (read(args.packed_indptr, segment + 1) <= static_cast<double>(byte)) ++segment;
    const auto begin = static_cast<std::int64_t>(read(args.indptr, segment));
    const auto end = static_cast<std::int64_t>(read(args.indptr, segment + 1));
    const auto first_byte = static_cast<std::int64_t>(read(args.packed_indptr, segment));
    *y++ = packed_byte(args.x, begin + (byte - first_byte) * 8, end, args.bitorder);
  }
}

}  // namespace strobe::reference
