#include "op/tolerance.h"

#include <cmath>

namespace strobe::op {
namespace {

struct Rounding {
  double unit;       // largest relative error
  double subnormal;  // smallest positive number
};

Rounding rounding(Dtype dtype) {
  switch (dtype) {
    case Dtype::kF32:
      return {0x1p-24, 0x1p-149};
    case Dtype::kF16:
      return {0x1p-11, 0x1p-24};
    case Dtype::kBf16:
      return {0x1p-8, 0x1p-133};
    case Dtype::kE4m3:
      return {0x1p-4, 0x1p-9};
    case Dtype::kE5m2:
      return {0x1p-3, 0x1p-16};
    default:
      return {0, 0};
  }
}

}  // namespace

Tolerance tolerance(Dtype output, const Accuracy& accuracy) {
  const Rounding out = rounding(output);
  if (out.unit == 0) return {0, 0, 0};
  const double single = accuracy.intermediate == Dtype::kF32 ? 0 : 4 * rounding(accuracy.intermediate).unit;
  const double sums = 16 * rounding(Dtype::kF32).unit * std::sqrt(static_cast<double>(accuracy.reduction));
  return {out.unit, single + sums, out.subnormal / 2};
}

}  // namespace strobe::op
