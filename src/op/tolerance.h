// The one place where tolerances are made: they follow from the output's dtype, the format of intermediate
// values and the length of the sums.
#pragma once

#include "op/operator.h"

namespace strobe::op {

// A result passes when |got - want| <= relative * |want| + of_rms * rms + absolute, where rms is the root
// mean square of `want` along the innermost axis.
struct Tolerance {
  double relative;
  double of_rms;
  double absolute;
};

// u(dtype) is the largest relative error of one rounding to the dtype.
//   relative = u(output)                                        the final rounding
//   of_rms   = 4 u(intermediate) + 16 u(f32) sqrt(reduction)    roundings of single terms (independent: four
//   standard deviations
//                                                               are about 2 u), and of sums in f32
//   absolute = half the smallest subnormal of the output
// Integer outputs must be exact.
Tolerance tolerance(Dtype output, const Accuracy& accuracy);

}  // namespace strobe::op
