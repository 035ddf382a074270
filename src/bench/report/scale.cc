#include "bench/report/scale.h"

#include <cmath>

namespace strobe::bench::report {

Scale Scale::linear(double low, double high, double from, double to) {
  Scale scale;
  scale.low_ = low, scale.high_ = high > low ? high : low + 1, scale.from_ = from, scale.to_ = to;
  return scale;
}

Scale Scale::log(double low, double high, double from, double to) {
  Scale scale = linear(low, high > low ? high : low * 10, from, to);
  scale.log_ = true;
  return scale;
}

double Scale::operator()(double value) const {
  const double part =
      log_ ? std::log(value / low_) / std::log(high_ / low_) : (value - low_) / (high_ - low_);
  return from_ + part * (to_ - from_);
}

double round_up(double value) {
  const double power = std::pow(10, std::floor(std::log10(value)));
  for (double factor : {1.0, 2.0, 5.0})
    if (factor * power >= value * (1 - 1e-9)) return factor * power;
  return 10 * power;
}

std::vector<double> Scale::ticks(int count) const {
  std::vector<double> result;
  if (!log_) {
    const double step = round_up((high_ - low_) / count);
    for (double i = std::ceil(low_ / step - 1e-9); i * step <= high_ + 1e-9 * step; ++i)
      result.push_back(i * step + 0.0);  // never -0
    return result;
  }
  const bool decades = std::log10(high_ / low_) > 2;
  for (double power = std::pow(10, std::floor(std::log10(low_))); power <= high_; power *= 10)
    for (double factor : {1.0, 2.0, 5.0})
      if ((factor == 1 || !decades) && factor * power >= low_ * (1 - 1e-9) &&
          factor * power <= high_ * (1 + 1e-9))
        result.push_back(factor * power);
  return result;
}

}  // namespace strobe::bench::report
