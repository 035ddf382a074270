#include "reference/norm.h"

#include <cmath>
#include <vector>

#include "reference/rows.h"
#include "reference/saturate.h"

namespace strobe::reference {
namespace {

using Values = std::vector<double>;

Values values_of(const Row& row) {
  Values x(static_cast<std::size_t>(row.size));
  for (std::size_t j = 0; j < x.size(); ++j) x[j] = row[static_cast<std::int64_t>(j)];
  return x;
}

Values sum_of(const Row& a, const Row& b) {
  Values x = values_of(a);
  for (std::size_t j = 0; j < x.size(); ++j) x[j] += b[static_cast<std::int64_t>(j)];
  return x;
}

double mean_square(const Values& x) {
  double sum = 0;
  for (double value : x) sum += value * value;
  return sum / static_cast<double>(x.size());
}

template <class Args>
void rms_row(const Args& args, const Values& x, double* out) {
  const double scale = 1 / std::sqrt(mean_square(x) + static_cast<double>(args.eps));
  for (std::size_t j = 0; j < x.size(); ++j)
    out[j] = x[j] * scale * (read(args.weight, j) + (args.gemma ? 1 : 0));
}

template <class Args>
void layer_row(const Args& args, Values x, double* out) {
  double mean = 0;
  for (double value : x) mean += value / static_cast<double>(x.size());
  for (double& value : x) value -= mean;
  const double scale = 1 / std::sqrt(mean_square(x) + static_cast<double>(args.eps));
  for (std::size_t j = 0; j < x.size(); ++j) out[j] = x[j] * scale * read(args.gamma, j) + read(args.beta, j);
}

template <class Args>
void quantise(const Args& args, op::ExpectedOutput& out) {
  for (double& value : out.values) value = saturate(value / static_cast<double>(args.scale), args.out.dtype);
}

// The norm of input + residual into `out`, the sum into `residual`.
template <class Args>
void fused_add(const Args& args, op::ExpectedOutput& out, op::ExpectedOutput& residual) {
  const auto sum_at = [&](std::int64_t outermost, std::int64_t row) {
    return sum_of(row_at(args.input, outermost, row), row_at(args.residual, outermost, row));
  };
  for_each_row_index(args.input, out, [&](std::int64_t outermost, std::int64_t row, double* values) {
    rms_row(args, sum_at(outermost, row), values);
  });
  for_each_row_index(args.residual, residual, [&](std::int64_t outermost, std::int64_t row, double* values) {
    for (double value : sum_at(outermost, row)) *values++ = value;
  });
}

}  // namespace

void rmsnorm(const RmsNormArgs& args, op::Expected& expected) {
  for_each_row(args.input, expected[0],
               [&](const Row& input, double* out) { rms_row(args, values_of(input), out); });
}

void rmsnorm_quant(const RmsNormQuantArgs& args, op::Expected& expected) {
  for_each_row(args.input, expected[0],
               [&](const Row& input, double* out) { rms_row(args, values_of(input), out); });
  quantise(args, expected[0]);
}

void fused_add_rmsnorm(const FusedAddRmsNormArgs& args, op::Expected& expected) {
  fused_add(args, expected[0], expected[1]);
}

void fused_add_rmsnorm_quant(const FusedAddRmsNormQuantArgs& args, op::Expected& expected) {
  fused_add(args, expected[1], expected[0]);
  quantise(args, expected[1]);
}

void layernorm(const LayerNormArgs& args, op::Expected& expected) {
  for_each_row(args.input, expected[0],
               [&](const Row& input, double* out) { layer_row(args, values_of(input), out); });
}

void layernorm_quant(const LayerNormQuantArgs& args, op::Expected& expected) {
  for_each_row(args.input, expected[0],
               [&](const Row& input, double* out) { layer_row(args, values_of(input), out); });
  quantise(args, expected[0]);
}

}  // namespace strobe::reference
