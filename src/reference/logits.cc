#include "reference/logits.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "reference/rows.h"

namespace strobe::reference {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

// The row of `state` that row i of the logits has; -1: none.
std::int64_t index_of(const TensorView& state, const TensorView& indices, std::int64_t i) {
  if (!state.given()) return -1;
  return indices.given() ? indices.at<std::int32_t>(i) : i;
}

bool bit(const TensorView& masks, std::int64_t mask, std::int64_t token) {
  const auto word = static_cast<std::uint32_t>(masks.at<std::int32_t>(mask, token / 32));
  return (word >> (token % 32) & 1) != 0;
}

double parameter(const TensorView& rows, float value, std::int64_t row) {
  return rows.given() ? rows.at<float>(row) : value;
}

// Both are false of a row that is bad.
bool mask_row(const TensorView& masks, const TensorView& indices, std::int64_t row, std::int64_t vocab_size,
              double* out) {
  const std::int64_t mask = index_of(masks, indices, row);
  if (mask < 0) return true;
  if (mask >= masks.shape[0]) return false;
  for (std::int64_t j = 0; j < vocab_size; ++j)
    if (!bit(masks, mask, j)) out[j] = -kInf;
  return true;
}

bool penalize_row(const PenaltiesArgs& args, std::int64_t row, double* out) {
  const std::int64_t slot = index_of(args.counts, args.slots, row);
  if (slot < 0) return true;
  if (slot >= args.counts.shape[0]) return false;
  const double repetition = parameter(args.repetition_penalty_rows, args.repetition_penalty, row),
               frequency = parameter(args.frequency_penalty_rows, args.frequency_penalty, row),
               presence = parameter(args.presence_penalty_rows, args.presence_penalty, row);
  if (!(repetition > 0) || std::isnan(frequency) || std::isnan(presence)) return false;
  for (std::int64_t j = 0; j < args.logits.shape[1]; ++j) {
    const double count = args.counts.at<std::int32_t>(slot, j);
    if (count > 0 || (args.prompt_mask.given() && bit(args.prompt_mask, slot, j)))
      out[j] = out[j] > 0 ? out[j] / repetition : out[j] * repetition;
    if (count > 0) out[j] -= frequency * count + presence;
  }
  return true;
}

// Calls change(row, values) for the logits of every row; false makes a row NaN.
template <class F>
void for_each_changed(const TensorView& logits, op::Expected& expected, F change) {
  for_each_row_index(logits, expected[0], [&](std::int64_t r, std::int64_t, double* out) {
    const Row row = row_at(logits, r, 0);
    for (std::int64_t j = 0; j < row.size; ++j) out[j] = row[j];
    if (!change(r, out)) std::fill_n(out, row.size, kNan);
  });
}

}  // namespace

void apply_token_bitmask(const TokenBitmaskArgs& args, op::Expected& expected) {
  for_each_changed(args.logits, expected, [&](std::int64_t row, double* out) {
    return mask_row(args.bitmask, args.bitmask_indices, row, args.logits.shape[1], out);
  });
}

void apply_penalties(const PenaltiesArgs& args, op::Expected& expected) {
  for_each_changed(args.logits, expected, [&](std::int64_t row, double* out) {
    const bool good = penalize_row(args, row, out);
    return mask_row(args.bitmask, args.bitmask_indices, row, args.logits.shape[1], out) && good;
  });
}

}  // namespace strobe::reference
