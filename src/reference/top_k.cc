#include "reference/top_k.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "reference/rows.h"

namespace strobe::reference {
namespace {

// The indices of the `k` first of values, in their order.
std::vector<std::int64_t> first_indices(const std::vector<double>& values, std::int64_t k, bool last_first) {
  std::vector<std::int64_t> indices(values.size());
  std::iota(indices.begin(), indices.end(), 0);
  if (last_first) std::reverse(indices.begin(), indices.end());
  const auto before = [&](std::int64_t a, std::int64_t b) {
    const double x = values[static_cast<std::size_t>(a)], y = values[static_cast<std::size_t>(b)];
    return std::isnan(x) ? !std::isnan(y) : x > y;
  };
  std::stable_sort(indices.begin(), indices.end(), before);
  if (static_cast<std::int64_t>(indices.size()) > k) indices.resize(static_cast<std::size_t>(k));
  return indices;
}

std::int64_t at(const TensorView& view, std::int64_t row, std::int64_t otherwise) {
  return view.given() ? view.at<std::int32_t>(row) : otherwise;
}

// The indices of the k largest scores of a row, from its start, in their own order; then -1.
template <class Args>
std::vector<std::int64_t> scored(const Args& args, std::int64_t row) {
  const std::int64_t k = args.out.shape[1], length = args.scores.shape[1],
                     start = at(args.row_starts, row, 0);
  std::vector<double> values;
  const Row scores = row_at(args.scores, row, 0);
  if (start >= 0)
    for (std::int64_t i = start; i < length && i < start + at(args.lengths, row, 0); ++i)
      values.push_back(scores[i]);
  std::vector<std::int64_t> indices = first_indices(values, k, args.last_first);
  std::sort(indices.begin(), indices.end());
  indices.resize(static_cast<std::size_t>(k), -1);
  return indices;
}

}  // namespace

void top_k(const TopKArgs& args, op::Expected& expected) {
  for (std::size_t output : {0, 1})
    for_each_row_index(args.input, expected[output], [&](std::int64_t r, std::int64_t, double* out) {
      const Row row = row_at(args.input, r, 0);
      std::vector<double> values;
      for (std::int64_t j = 0; j < row.size; ++j) values.push_back(row[j]);
      for (std::int64_t index : first_indices(values, args.indices.shape[1], args.last_first))
        *out++ = output == 0 ? values[static_cast<std::size_t>(index)] : static_cast<double>(index);
    });
}

void top_k_ragged_transform(const TopKRaggedTransformArgs& args, op::Expected& expected) {
  for_each_row_index(args.out, expected[0], [&](std::int64_t row, std::int64_t, double* out) {
    for (std::int64_t index : scored(args, row))
      *out++ = static_cast<double>(index < 0 ? -1 : index + at(args.offsets, row, 0));
  });
}

void top_k_page_table_transform(const TopKPageTableTransformArgs& args, op::Expected& expected) {
  const auto place = [&](std::int64_t row, std::int64_t index) -> std::int64_t {
    const std::int64_t batch = at(args.row_to_batch, row, row);
    const std::int64_t page =
        at(args.page_table_row_starts, row, at(args.row_starts, row, 0)) + index / args.page_size;
    if (index < 0 || batch < 0 || batch >= args.page_table.shape[0] || page < 0 ||
        page >= args.page_table.shape[1])
      return -1;
    return args.page_table.at<std::int32_t>(batch, page) * args.page_size + index % args.page_size;
  };
  for_each_row_index(args.out, expected[0], [&](std::int64_t row, std::int64_t, double* out) {
    for (std::int64_t index : scored(args, row)) *out++ = static_cast<double>(place(row, index));
  });
  if (!args.raw_indices.given()) return;
  for_each_row_index(args.out, expected[1], [&](std::int64_t row, std::int64_t, double* out) {
    for (std::int64_t index : scored(args, row)) *out++ = static_cast<double>(index);
  });
}

}  // namespace strobe::reference
