// Constants of the integer weights of tokens (weight.h), for the vectors of the CPU kernels too.
#pragma once

namespace strobe::kernel {

inline constexpr float kUnitWeight = 0x1p40f;      // the weight of probability 1
inline constexpr float kLargestProbability = 2;    // what is above makes a row bad
inline constexpr float kLargestFactor = 0x1p100f;  // of a temperature that is 0 or nearly so
inline constexpr float kLog2E = 0x1.715476p+0f;
// 2^f for |f| <= 1/2 by powers of f: relative error below 2e-7.
inline constexpr float kExp2[] = {
    1.0f, 6.931469775e-1f, 2.402224208e-1f, 5.550733745e-2f, 9.671512640e-3f, 1.3264727195e-3f};

}  // namespace strobe::kernel
