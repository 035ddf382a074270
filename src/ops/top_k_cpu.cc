#include <algorithm>
#include <cmath>
#include <vector>

#include "core/read.h"
#include "cpu/parallel.h"
#include "ops/top_k_call.h"
#include "sampling/weight.h"

namespace strobe::op {
namespace {

std::int32_t value_of(const TensorView* view, std::int64_t row, std::int64_t otherwise) {
  return view != nullptr && view->given() ? view->at<std::int32_t>(row)
                                          : static_cast<std::int32_t>(otherwise);
}

// The place of a value and its index in the order, one number: the larger comes first.
std::uint64_t place_of(float x, std::uint32_t index, bool last_first) {
  const std::uint32_t order = std::isnan(x) ? ~0u : kernel::key_of_logit(x);
  return std::uint64_t{order} << 32 | (last_first ? index : ~index);
}
std::int64_t index_of(std::uint64_t place, bool last_first) {
  const auto bits = static_cast<std::uint32_t>(place);
  return last_first ? bits : ~bits;
}

// The first k places of a row, in order: those beyond the k-th of what has been seen are kept until there are
// too many of them.
template <class T>
void select(const T* row, std::int64_t size, std::size_t k, bool last_first,
            std::vector<std::uint64_t>& places) {
  const std::size_t most = 4 * k + 1024;
  const auto end_at = [&](std::size_t count) {
    std::nth_element(places.begin(), places.begin() + static_cast<std::ptrdiff_t>(count) - 1, places.end(),
                     std::greater<>());
    places.resize(count);
  };
  places.clear();
  std::uint64_t least = 0;
  for (std::int64_t i = 0; i < size; ++i) {
    const std::uint64_t place =
        place_of(static_cast<float>(row[i]), static_cast<std::uint32_t>(i), last_first);
    if (place <= least) continue;
    places.push_back(place);
    if (places.size() < most) continue;
    end_at(k);
    least = places.back();
  }
  if (places.size() > k) end_at(k);
  std::sort(places.begin(), places.end(), std::greater<>());
}

void select(const TensorView& input, std::int64_t row, const ScoreRange& range, std::size_t k,
            bool last_first, std::vector<std::uint64_t>& places) {
  const auto run = [&](const auto* data) {
    select(data + row * input.strides[0] + range.start, range.size, k, last_first, places);
  };
  switch (input.dtype) {
    case Dtype::kF16:
      return run(input.as<F16>());
    case Dtype::kBf16:
      return run(input.as<Bf16>());
    default:
      return run(input.as<float>());
  }
}

void put(const TensorView& view, std::int64_t row, std::int64_t column, std::int64_t value) {
  if (view.dtype == Dtype::kI64)
    view.at<std::int64_t>(row, column) = value;
  else
    view.at<std::int32_t>(row, column) = static_cast<std::int32_t>(value);
}

void run_row(const TopKCall& call, std::int64_t row, std::vector<std::uint64_t>& places) {
  const ScoreRange range = score_range(call, row);
  const auto k = static_cast<std::size_t>(call.k());
  select(call.input, row, range, k, call.last_first, places);
  std::vector<std::int64_t> indices;
  for (const std::uint64_t place : places) indices.push_back(index_of(place, call.last_first));
  if (call.lengths != nullptr) std::sort(indices.begin(), indices.end());
  const std::size_t bytes = size_of(call.input.dtype);
  for (std::size_t j = 0; j < k; ++j) {
    const auto column = static_cast<std::int64_t>(j);
    const std::int64_t index = j < indices.size() ? indices[j] : -1;
    put(call.indices, row, column, index < 0 ? -1 : moved_index(call, row, index));
    if (call.raw_indices != nullptr && call.raw_indices->given()) put(*call.raw_indices, row, column, index);
    if (call.values == nullptr) continue;
    const std::int64_t from = row * call.input.strides[0] + index,
                       to = row * call.values->strides[0] + column;
    std::copy_n(call.input.as<char>() + from * static_cast<std::int64_t>(bytes), bytes,
                call.values->as<char>() + to * static_cast<std::int64_t>(bytes));
  }
}

}  // namespace

ScoreRange score_range(const TopKCall& call, std::int64_t row) {
  const std::int64_t all = call.input.shape[1];
  if (call.lengths == nullptr) return {0, all};
  const std::int64_t start = value_of(call.row_starts, row, 0);
  if (start < 0 || start > all) return {0, 0};
  return {start, std::clamp<std::int64_t>(value_of(call.lengths, row, 0), 0, all - start)};
}

std::int64_t moved_index(const TopKCall& call, std::int64_t row, std::int64_t index) {
  if (call.page_table == nullptr) return index + value_of(call.offsets, row, 0);
  const std::int64_t batch = value_of(call.row_to_batch, row, row);
  const std::int64_t first = call.page_table_row_starts->given()
                                 ? value_of(call.page_table_row_starts, row, 0)
                                 : value_of(call.row_starts, row, 0);
  const std::int64_t page = first + index / call.page_size;
  if (batch < 0 || batch >= call.page_table->shape[0] || page < 0 || page >= call.page_table->shape[1])
    return -1;
  return call.page_table->at<std::int32_t>(batch, page) * call.page_size + index % call.page_size;
}

void run_top_k_cpu(const TopKCall& call) {
  const auto bytes = static_cast<std::int64_t>(size_of(call.input.dtype)) * call.input.shape[1];
  cpu::parallel_ranges(call.rows(), bytes, [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::uint64_t> places;
    for (std::int64_t row = begin; row < end; ++row) run_row(call, row, places);
  });
}

}  // namespace strobe::op
