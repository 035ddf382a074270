#include "trace/run/sampling.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace strobe::trace {
namespace {

// The probabilities that the filter leaves, the likeliest first, and whose they are.
struct Allowed {
  std::vector<std::int64_t> tokens;
  std::vector<double> probabilities;
};

Allowed allowed_of(std::span<const float> probabilities, const Filter& filter) {
  constexpr double kRounding = 1e-4;  // of sums in f32 over a vocabulary
  std::vector<std::int64_t> order(probabilities.size());
  std::iota(order.begin(), order.end(), 0);
  const auto of = [&](std::int64_t token) { return probabilities[static_cast<std::size_t>(token)]; };
  std::sort(order.begin(), order.end(),
            [&](auto a, auto b) { return of(a) > of(b) || (of(a) == of(b) && a < b); });
  std::size_t count = order.size();
  if (filter.top_k > 0 && static_cast<std::size_t>(filter.top_k) < count) {
    count = static_cast<std::size_t>(filter.top_k);
    while (count < order.size() && of(order[count]) == of(order[count - 1])) ++count;
  }
  double kept = 0;
  for (std::size_t i = 0; i < count; ++i) kept += of(order[i]);
  Allowed allowed;
  double before = 0;
  for (std::size_t i = 0; i < count && of(order[i]) > 0 && before < filter.top_p + kRounding; ++i) {
    allowed.tokens.push_back(order[i]);
    allowed.probabilities.push_back(of(order[i]) / kept);
    before += allowed.probabilities.back();
  }
  for (double& probability : allowed.probabilities) probability /= before;
  return allowed;
}

}  // namespace

bool is_sampling(const Definition& definition) { return definition.op_type == "sampling"; }

std::optional<std::string> SampleTest::add(std::span<const float> probabilities, const Filter& filter,
                                           std::int64_t sample) {
  if (sample < 0 || sample >= static_cast<std::int64_t>(probabilities.size()))
    return fmt::format("token {} is none of {}", sample, probabilities.size());
  const Allowed allowed = allowed_of(probabilities, filter);
  if (allowed.tokens.empty()) return "no token has a probability";
  const auto found = std::find(allowed.tokens.begin(), allowed.tokens.end(), sample);
  if (found == allowed.tokens.end())
    return fmt::format("token {} is none of the {} that may be drawn", sample, allowed.tokens.size());
  double begin = 0;
  for (std::size_t i = 0; i < allowed.tokens.size(); ++i) {
    const double probability = allowed.probabilities[i];
    const auto bin = static_cast<std::size_t>(std::min((begin + probability / 2) * kBins, kBins - 1.0));
    expected_[bin] += probability;
    if (allowed.tokens[i] == sample) counted_[bin] += 1;
    begin += probability;
  }
  samples_ += 1;
  return {};
}

double SampleTest::total_variation() const {
  double sum = 0;
  for (std::size_t bin = 0; bin < kBins; ++bin) sum += std::abs(counted_[bin] - expected_[bin]);
  return samples_ > 0 ? sum / (2 * samples_) : 0;
}

// Chi-square as a normal deviate by the cube root of Wilson and Hilferty. Bins of which little is expected
// are counted together.
double SampleTest::excess() const {
  constexpr double kLeastExpected = 5;
  double chi_square = 0, expected = 0, counted = 0;
  int bins = 0;
  for (std::size_t bin = 0; bin < kBins; ++bin) {
    expected += expected_[bin];
    counted += counted_[bin];
    if (expected < kLeastExpected) continue;
    chi_square += (counted - expected) * (counted - expected) / expected;
    expected = counted = 0;
    ++bins;
  }
  if (bins < 2) return 0;
  const double freedom = bins - 1, spread = 2 / (9 * freedom);
  return (std::cbrt(chi_square / freedom) - (1 - spread)) / std::sqrt(spread);
}

}  // namespace strobe::trace
