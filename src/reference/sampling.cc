#include "reference/sampling.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "reference/rows.h"
#include "sampling/philox.h"
#include "sampling/weight.h"

namespace strobe::reference {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

template <class T>
T parameter(const TensorView& rows, T value, std::int64_t row) {
  return rows.given() ? rows.at<T>(row) : value;
}

std::uint64_t number(const TensorView& numbers, std::int64_t value, std::int64_t row) {
  if (!numbers.given()) return static_cast<std::uint64_t>(value);
  return static_cast<std::uint64_t>(numbers.at<std::int64_t>(numbers.shape[0] > 1 ? row : 0));
}

// A row's tokens: what they are ordered by (`x`), what min_p looks at (`value`), their weights, and whether
// they are kept.
struct Tokens {
  std::vector<float> x, value;
  std::vector<std::uint64_t> weight;
  std::vector<char> kept;
  bool bad = false;

  std::size_t size() const { return x.size(); }
  std::uint64_t kept_weight() const {
    std::uint64_t sum = 0;
    for (std::size_t j = 0; j < size(); ++j) sum += kept[j] ? weight[j] : 0;
    return sum;
  }
};

Tokens with_values(const Row& row, std::function<float(float)> value_of) {
  Tokens tokens;
  for (std::int64_t j = 0; j < row.size; ++j) {
    tokens.x.push_back(static_cast<float>(row[j]));
    tokens.value.push_back(value_of(tokens.x.back()));
    const float value = tokens.value.back();
    tokens.weight.push_back(value > 0 && value <= kernel::kLargestProbability ? kernel::weight_of(value) : 0);
  }
  tokens.kept.assign(tokens.size(), 1);
  return tokens;
}

Tokens of_probs(const Row& row) {
  Tokens tokens = with_values(row, [](float x) { return x; });
  for (float x : tokens.x) tokens.bad |= !(x >= 0 && x <= kernel::kLargestProbability);
  return tokens;
}

Tokens of_logits(const Row& row, float temperature) {
  float largest = -std::numeric_limits<float>::infinity();
  for (std::int64_t j = 0; j < row.size; ++j) largest = std::max(largest, static_cast<float>(row[j]));
  const float factor = kernel::factor_of(temperature);
  Tokens tokens = with_values(row, [=](float x) { return kernel::exponential(x, largest, factor); });
  for (float x : tokens.x) tokens.bad |= std::isnan(x) || x == std::numeric_limits<float>::infinity();
  tokens.bad |= !(temperature >= 0);
  return tokens;
}

// Keeps, of the tokens in `kept`, those whose x is at least the `count`-th largest of the `eligible`.
void keep_top_k(Tokens& tokens, const std::vector<char>& eligible, std::int64_t count) {
  std::vector<float> sorted;
  for (std::size_t j = 0; j < tokens.size(); ++j)
    if (eligible[j]) sorted.push_back(tokens.x[j]);
  if (count <= 0 || count >= static_cast<std::int64_t>(sorted.size())) return;
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  const float least = sorted[static_cast<std::size_t>(count - 1)];
  for (std::size_t j = 0; j < tokens.size(); ++j) tokens.kept[j] &= tokens.x[j] >= least;
}

// Keeps those whose x is at least the largest v for which the eligible tokens of x >= v have enough weight.
void keep_top_p(Tokens& tokens, const std::vector<char>& eligible, float top_p) {
  if (!(top_p < 1)) return;
  std::vector<std::size_t> order;
  std::uint64_t all = 0;
  for (std::size_t j = 0; j < tokens.size(); ++j)
    if (eligible[j]) {
      order.push_back(j);
      all += tokens.weight[j];
    }
  if (all == 0) return;
  const std::uint64_t enough = kernel::least_weight(std::max(top_p, 0.0f), all);
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return tokens.x[a] > tokens.x[b]; });
  std::uint64_t sum = 0;
  for (std::size_t j : order) {
    sum += tokens.weight[j];
    if (sum < enough) continue;
    for (std::size_t i = 0; i < tokens.size(); ++i) tokens.kept[i] &= tokens.x[i] >= tokens.x[j];
    return;
  }
}

void apply(const TokenFilter& filter, std::int64_t row, Tokens& tokens) {
  if (tokens.bad) return;
  const std::vector<char> everything = tokens.kept;
  const float min_p = std::min(parameter(filter.min_p_rows, filter.min_p, row), 1.0f);
  if (min_p > 0) {
    const float least = min_p * *std::max_element(tokens.value.begin(), tokens.value.end());
    for (std::size_t j = 0; j < tokens.size(); ++j) tokens.kept[j] = tokens.value[j] >= least;
  }
  const std::int64_t top_k =
      filter.top_k_rows.given() ? filter.top_k_rows.at<std::int32_t>(row) : filter.top_k;
  keep_top_k(tokens, filter.joint ? everything : std::vector(tokens.kept), top_k);
  keep_top_p(tokens, filter.joint ? everything : std::vector(tokens.kept),
             parameter(filter.top_p_rows, filter.top_p, row));
}

// The token that the row's random number picks; -1 when there is none.
std::int64_t draw(const RandomNumbers& random, std::int64_t row, const Tokens& tokens) {
  const std::uint64_t all = tokens.kept_weight();
  if (tokens.bad || all == 0) return -1;
  const bool own_seed = random.seeds.given() && random.seeds.shape[0] > 1;
  const std::uint64_t bits =
      kernel::random_bits(number(random.seeds, random.seed, row), number(random.offsets, random.offset, row),
                          own_seed ? 0 : static_cast<std::uint32_t>(row), 0);
  std::uint64_t target = kernel::scaled_to(bits, all);
  for (std::size_t j = 0; j < tokens.size(); ++j) {
    if (!tokens.kept[j]) continue;
    if (target < tokens.weight[j]) return static_cast<std::int64_t>(j);
    target -= tokens.weight[j];
  }
  return -1;
}

// expected[0]: samples, expected[1]: valid, when it is given. `tokens_of(source row, row)`.
template <class Args, class F>
void sample(const Args& args, const TensorView& input, op::Expected& expected, F tokens_of) {
  for (std::size_t i = 0; i < expected[0].rows.size(); ++i) {
    const std::int64_t row = expected[0].rows[i];
    const std::int64_t source = args.indices.given() ? args.indices.template at<std::int32_t>(row) : row;
    std::int64_t token = -1;
    if (source >= 0 && source < input.shape[0]) {
      Tokens tokens = tokens_of(source, row);
      apply(args.filter, row, tokens);
      token = draw(args.random, row, tokens);
    }
    expected[0].values[i] = static_cast<double>(std::max<std::int64_t>(token, 0));
    if (args.valid.given()) expected[1].values[i] = token >= 0;
  }
}

}  // namespace

void softmax(const SoftmaxArgs& args, op::Expected& expected) {
  for_each_row_index(args.logits, expected[0], [&](std::int64_t r, std::int64_t, double* out) {
    const Row row = row_at(args.logits, r, 0);
    const auto temperature = static_cast<double>(parameter(args.temperature_rows, args.temperature, r));
    double largest = -kInf, sum = 0;
    bool bad = !(temperature >= 0);
    for (std::int64_t j = 0; j < row.size; ++j) {
      bad |= std::isnan(row[j]) || row[j] == kInf;
      largest = std::max(largest, row[j]);
    }
    bad |= largest == -kInf;
    for (std::int64_t j = 0; j < row.size; ++j)
      sum += out[j] = row[j] == largest ? 1 : std::exp((row[j] - largest) / temperature);
    for (std::int64_t j = 0; j < row.size; ++j) out[j] = bad ? kNan : out[j] / sum;
  });
}

void sampling_from_probs(const SamplingFromProbsArgs& args, op::Expected& expected) {
  sample(args, args.probs, expected,
         [&](std::int64_t source, std::int64_t) { return of_probs(row_at(args.probs, source, 0)); });
}

void sampling_from_logits(const SamplingFromLogitsArgs& args, op::Expected& expected) {
  sample(args, args.logits, expected, [&](std::int64_t source, std::int64_t row) {
    return of_logits(row_at(args.logits, source, 0), parameter(args.temperature_rows, args.temperature, row));
  });
}

void renorm_probs(const RenormProbsArgs& args, op::Expected& expected) {
  for_each_row_index(args.probs, expected[0], [&](std::int64_t r, std::int64_t, double* out) {
    Tokens tokens = of_probs(row_at(args.probs, r, 0));
    apply(args.filter, r, tokens);
    const auto all = static_cast<double>(tokens.kept_weight());
    for (std::size_t j = 0; j < tokens.size(); ++j)
      out[j] = tokens.bad || all == 0 ? kNan
               : tokens.kept[j]
                   ? static_cast<double>(tokens.x[j]) * static_cast<double>(kernel::kUnitWeight) / all
                   : 0;
  });
}

void mask_logits(const MaskLogitsArgs& args, op::Expected& expected) {
  for_each_row_index(args.logits, expected[0], [&](std::int64_t r, std::int64_t, double* out) {
    Tokens tokens =
        of_logits(row_at(args.logits, r, 0), parameter(args.temperature_rows, args.temperature, r));
    apply(args.filter, r, tokens);
    for (std::size_t j = 0; j < tokens.size(); ++j)
      out[j] = tokens.kept[j] ? static_cast<double>(tokens.x[j]) : -kInf;
  });
}

}  // namespace strobe::reference
