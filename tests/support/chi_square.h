// Whether tokens have the frequencies that they should have.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace strobe::test {

// Pearson's statistic over the tokens of p > 0 (which need not add up to 1), and its standard score: with
// many degrees of freedom d it is nearly normal, of mean d and variance 2 d. A token of p = 0 that was drawn
// makes it infinite.
inline double chi_square_score(const std::vector<double>& p, const std::vector<std::int64_t>& counts) {
  double sum = 0, statistic = 0, draws = 0;
  int tokens = 0;
  for (double x : p) sum += x;
  for (std::int64_t count : counts) draws += static_cast<double>(count);
  for (std::size_t j = 0; j < p.size(); ++j) {
    const double want = p[j] / sum * draws, got = static_cast<double>(counts[j]);
    if (want == 0 && counts[j] > 0) return INFINITY;
    if (want == 0) continue;
    ++tokens;
    statistic += (got - want) * (got - want) / want;
  }
  const double degrees = tokens - 1;
  return (statistic - degrees) / std::sqrt(2 * degrees);
}

}  // namespace strobe::test
