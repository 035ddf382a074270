#include "trace/run/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>
#include <vector>

#include "core/read.h"
#include "op/random.h"
#include "trace/run/sampling.h"

namespace strobe::trace {

bool Comparison::passed(const Bounds& bounds) const {
  if (elements == 0) return true;
  return 1 - static_cast<double>(wrong) / static_cast<double>(elements) >= bounds.required_matched_ratio;
}

Comparison compare(const TensorView& got, const TensorView& want, const Bounds& bounds) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  Comparison result{.elements = want.size()};
  for (std::int64_t i = 0; i < result.elements; ++i) {
    const double x = read_element(got.data, got.dtype, i), y = read_element(want.data, want.dtype, i);
    if ((std::isnan(x) && std::isnan(y)) || x == y) continue;
    const bool finite = std::isfinite(x) && std::isfinite(y);
    const double absolute = finite ? std::abs(x - y) : kInfinity;
    const double relative = finite ? absolute / (std::abs(y) + 1e-8) : kInfinity;
    result.max_absolute_error = std::max(result.max_absolute_error, absolute);
    result.max_relative_error = std::max(result.max_relative_error, relative);
    result.wrong += absolute > bounds.atol && relative > bounds.rtol ? 1 : 0;
  }
  return result;
}

namespace {

double root_mean_square_ratio(const TensorView& got, const TensorView& want) {
  double errors = 0, elements = 0;
  for (std::int64_t i = 0; i < want.size(); ++i) {
    const double y = read_element(want.data, want.dtype, i),
                 difference = read_element(got.data, got.dtype, i) - y;
    if (!std::isfinite(y)) continue;
    errors += difference * difference;
    elements += y * y;
  }
  return errors == 0 ? 0 : std::sqrt(errors / elements);
}

// The indices of a row that are none of the reference's, come twice, or are too few or too many.
std::int64_t wrong_indices(const TensorView& got, const TensorView& want, std::int64_t begin,
                           std::int64_t count) {
  std::vector<std::int64_t> mine, theirs;
  for (std::int64_t i = begin; i < begin + count; ++i) {
    const auto add = [i](const TensorView& view, std::vector<std::int64_t>& indices) {
      const auto index = static_cast<std::int64_t>(read_element(view.data, view.dtype, i));
      if (index != -1) indices.push_back(index);
    };
    add(got, mine);
    add(want, theirs);
  }
  const auto sizes = static_cast<std::int64_t>(mine.size()) - static_cast<std::int64_t>(theirs.size());
  std::sort(mine.begin(), mine.end());
  std::sort(theirs.begin(), theirs.end());
  const bool twice = std::adjacent_find(mine.begin(), mine.end()) != mine.end();
  if (sizes != 0 || twice) return count;  // no matter of rounding
  std::vector<std::int64_t> strange;
  std::set_difference(mine.begin(), mine.end(), theirs.begin(), theirs.end(), std::back_inserter(strange));
  return static_cast<std::int64_t>(strange.size());
}

Judgement judge_index_sets(const TensorView& got, const TensorView& want) {
  constexpr double kShare = 0.99;
  const std::int64_t row = want.rank > 0 ? want.shape[static_cast<std::size_t>(want.rank - 1)] : 1;
  Judgement result{.comparison = {.elements = want.size()}, .problem = {}};
  for (std::int64_t begin = 0; begin < want.size(); begin += row)
    result.comparison.wrong += wrong_indices(got, want, begin, row);
  if (static_cast<double>(result.comparison.wrong) > (1 - kShare) * static_cast<double>(want.size()))
    result.problem = fmt::format("{} of {} indices are wrong", result.comparison.wrong, want.size());
  return result;
}

}  // namespace

Rule rule_of(const Definition& definition, const TensorSpec& output) {
  if (is_sampling(definition)) return Rule::kSamples;
  if (definition.name.starts_with("dsa_topk_indexer") && output.dtype.starts_with("int"))
    return Rule::kIndexSets;
  return definition.name.find("moe_fp8_block_scale") != std::string::npos ? Rule::kLowBit : Rule::kElements;
}

Judgement judge(Rule rule, const TensorView& got, const TensorView& want, const Bounds& bounds) {
  constexpr double kLowBitShare = 0.95, kLowBitError = 0.1;
  if (rule == Rule::kIndexSets) return judge_index_sets(got, want);
  Bounds allowed = bounds;
  if (rule == Rule::kLowBit && bounds.required_matched_ratio == 1)
    allowed.required_matched_ratio = kLowBitShare;
  Judgement result{.comparison = compare(got, want, allowed), .problem = {}};
  const Comparison& found = result.comparison;
  if (!found.passed(allowed))
    result.problem = fmt::format("{} of {} elements are wrong (largest error {:.3g})", found.wrong,
                                 found.elements, found.max_absolute_error);
  else if (rule != Rule::kElements && found.wrong > 0)
    if (const double error = root_mean_square_ratio(got, want); !(error <= kLowBitError))
      result.problem = fmt::format("its error is {:.3g} of its elements (root mean square)", error);
  return result;
}

bool is_poisoned(const TensorView& view) {
  const Tensor poison(view.dtype, std::span(view.shape.data(), static_cast<std::size_t>(view.rank)));
  op::fill_poison(poison);
  return std::memcmp(poison.as<void>(), view.data, static_cast<std::size_t>(view.bytes())) == 0;
}

}  // namespace strobe::trace
