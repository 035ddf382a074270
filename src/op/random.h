// Reproducible random data: the same seed gives the same values on every platform.
#pragma once

#include <cstdint>

#include "strobe/tensor.h"

namespace strobe::op {

// A splitmix64 generator.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  // Uniform in [low, high].
  std::int64_t integer(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(next() % static_cast<std::uint64_t>(high - low + 1));
  }
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }  // [0, 1)
  double normal();

 private:
  std::uint64_t state_;
};

// While one lives, in its thread only, the functions below leave memory as it is: for problems of which only
// shapes and indices matter, whose memory is then never touched.
class FillNothing {
 public:
  FillNothing();
  ~FillNothing();
  FillNothing(const FillNothing&) = delete;
  FillNothing& operator=(const FillNothing&) = delete;
};

// Fills any view of a float or integer dtype: floats from N(mean, deviation), integers and bool uniformly
// over {0, 1}. Large views draw from a table of 2^16 normal values, so that filling is quick.
void fill_normal(const TensorView& view, Random& random, double mean = 0, double deviation = 1);

// Fills every element with NaN (floats) or the largest value (integers): what an output holds before a
// checked call.
void fill_poison(const TensorView& view);

}  // namespace strobe::op
