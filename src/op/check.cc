#include "op/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "core/read.h"
#include "op/tolerance.h"

namespace strobe::op {

std::vector<std::int64_t> sample_rows(std::int64_t extent, std::int64_t at_least, Random& random) {
  std::set<std::int64_t> rows;
  const auto add = [&](std::int64_t row) {
    if (row >= 0 && row < extent) rows.insert(row);
  };
  if (extent <= at_least) {
    for (std::int64_t row = 0; row < extent; ++row) add(row);
  } else {
    for (std::int64_t row : {std::int64_t{0}, std::int64_t{1}, extent - 2, extent - 1}) add(row);
    for (std::int64_t border = 64; border < extent && static_cast<std::int64_t>(rows.size()) < at_least / 2;
         border *= 2) {
      add(border - 1);
      add(border);
    }
    while (static_cast<std::int64_t>(rows.size()) < at_least) add(random.integer(0, extent - 1));
  }
  return {rows.begin(), rows.end()};
}

Expected expect(const Operator& op, const void* args, const Axes& axes, std::int64_t rows_at_least,
                Random& random) {
  Expected expected;
  const std::uint64_t seed = random.next();
  for (std::size_t i = 0; i < op.operands.size(); ++i) {
    const TensorView& view = op.operands[i].of(args);
    if (!op.operands[i].written() || !view.given()) continue;
    Random same_rows(seed);  // outputs with the same outermost axis are checked on the same rows
    ExpectedOutput output;
    output.operand = static_cast<int>(i);
    output.rows = sample_rows(view.shape[0], rows_at_least, same_rows);
    const std::int64_t per_row = view.shape[0] == 0 ? 0 : view.size() / view.shape[0];
    output.values.resize(output.rows.size() * static_cast<std::size_t>(per_row));
    expected.push_back(std::move(output));
  }
  op.reference(args, axes, expected);
  return expected;
}

namespace {

std::string position(const TensorView& view, std::int64_t row, std::int64_t rest) {
  std::string text;
  for (int axis = view.rank - 1; axis > 0; --axis) {
    const std::int64_t extent = view.shape[static_cast<std::size_t>(axis)];
    text = fmt::format(", {}{}", rest % extent, text);
    rest /= extent;
  }
  return fmt::format("[{}{}]", row, text);
}

std::int64_t offset_of(const TensorView& view, std::int64_t row, std::int64_t rest) {
  std::int64_t offset = row * view.strides[0];
  for (int axis = view.rank - 1; axis > 0; --axis) {
    const std::int64_t extent = view.shape[static_cast<std::size_t>(axis)];
    offset += rest % extent * view.strides[static_cast<std::size_t>(axis)];
    rest /= extent;
  }
  return offset;
}

// Of the finite values.
double rms(const double* values, std::int64_t count) {
  double sum = 0;
  for (std::int64_t i = 0; i < count; ++i)
    if (std::isfinite(values[i])) sum += values[i] * values[i];
  return std::sqrt(sum / static_cast<double>(count));
}

// Compares one output's sampled rows; `worst_excess` is how far the worst failure so far lies outside, in
// tolerances.
void compare_output(const Operand& operand, const TensorView& view, const ExpectedOutput& output,
                    const Tolerance& allowed, CheckResult& result, double& worst_excess) {
  const std::int64_t per_row =
      output.rows.empty() ? 0 : static_cast<std::int64_t>(output.values.size() / output.rows.size());
  const std::int64_t innermost =
      view.rank > 1 ? view.shape[static_cast<std::size_t>(view.rank - 1)] : per_row;
  const auto all = static_cast<std::int64_t>(output.values.size());
  for (std::size_t r = 0; r < output.rows.size(); ++r) {
    const double* want_row = output.values.data() + r * static_cast<std::size_t>(per_row);
    double scale = 0;
    for (std::int64_t i = 0; i < per_row; ++i) {
      if (i % innermost == 0)
        scale = view.rank > 1 ? rms(want_row + i, innermost) : rms(output.values.data(), all);
      const double want = want_row[i];
      const double got = read_element(view.data, view.dtype, offset_of(view, output.rows[r], i));
      const double limit = allowed.relative * std::abs(want) + allowed.of_rms * scale + allowed.absolute;
      const double error = std::abs(got - want);
      ++result.elements;
      const bool same = (std::isnan(want) && std::isnan(got)) || want == got;
      if (std::isfinite(error)) {
        result.max_abs_error = std::max(result.max_abs_error, error);
        if (error > 0)
          result.max_rel_error = std::max(result.max_rel_error, error / (std::abs(want) + scale));
      }
      if (same || (std::isfinite(want) && error <= limit)) continue;
      const double excess = std::isfinite(error) ? error / std::max(limit, 1e-300) : INFINITY;
      if (result.passed || excess > worst_excess) {
        worst_excess = excess;
        result.worst = fmt::format("{}{}: got {:.6g}, expected {:.6g} ± {:.2g}", operand.name,
                                   position(view, output.rows[r], i), got, want, limit);
      }
      result.passed = false;
    }
  }
}

}  // namespace

CheckResult compare(const Operator& op, const void* args, const Axes& axes, const Expected& expected,
                    DeviceType device) {
  CheckResult result;
  double worst_excess = 0;
  for (const ExpectedOutput& output : expected) {
    const Operand& operand = op.operands[static_cast<std::size_t>(output.operand)];
    const TensorView& view = operand.of(args);
    const Accuracy accuracy = op.accuracy(args, axes, output.operand, device);
    compare_output(operand, view, output, tolerance(view.dtype, accuracy), result, worst_excess);
  }
  return result;
}

}  // namespace strobe::op
