// Whether samples are drawn from the distribution that they are to be drawn from.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>

#include "trace/model.h"

namespace strobe::trace {

bool is_sampling(const Definition& definition);  // op_type "sampling"

// What a row allows: the `top_k` most likely tokens (and those as likely as the last of them), of these, made
// to a distribution again, the fewest most likely whose sum reaches `top_p`.
struct Filter {
  std::int64_t top_k = 0;  // 0: all
  double top_p = 1;
};

// Gathers samples of any number of rows, each with its own distribution, and tests them all by chi-square.
// The tokens of a row lie side by side on [0, 1), the likeliest first, each as wide as it is likely; samples
// are counted by the sixteenth in which the middle of their token lies.
class SampleTest {
 public:
  // Why the sample cannot be one of the row; nothing when it can.
  std::optional<std::string> add(std::span<const float> probabilities, const Filter& filter,
                                 std::int64_t sample);

  double total_variation() const;
  // How many standard deviations the counts' chi-square lies above that of samples as they ought to be; at
  // most what chance brings once in 10^9 tests.
  double excess() const;
  static constexpr double kMostExcess = 6;

 private:
  static constexpr std::size_t kBins = 16;
  std::array<double, kBins> expected_{}, counted_{};
  double samples_ = 0;
};

}  // namespace strobe::trace
