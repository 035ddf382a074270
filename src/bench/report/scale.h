// From values to pixels.
#pragma once

#include <vector>

namespace strobe::bench::report {

class Scale {
 public:
  static Scale linear(double low, double high, double from, double to);
  // low and high above 0.
  static Scale log(double low, double high, double from, double to);

  double operator()(double value) const;
  double low() const { return low_; }
  double high() const { return high_; }
  // Round values within [low, high], about `count` of them: 1, 2, 5 times powers of ten, of a logarithmic
  // scale over more than two decades powers of ten alone.
  std::vector<double> ticks(int count) const;

 private:
  double low_ = 0, high_ = 1, from_ = 0, to_ = 1;
  bool log_ = false;
};

// The least round value (as ticks are) that is not below `value`.
double round_up(double value);

}  // namespace strobe::bench::report
