#include <algorithm>
#include <cmath>

#include "cpu/parallel.h"
#include "cpu/sampling_kernel.h"
#include "ops/random_numbers.h"
#include "ops/sampling_call.h"
#include "sampling/weight.h"

namespace strobe::op {
namespace {

template <class T>
T at_row(const TensorView* rows, T value, std::int64_t row) {
  return rows != nullptr && rows->given() ? rows->at<T>(row) : value;
}

char* row_at(const TensorView& view, std::int64_t row) {
  return view.as<char>() + row * view.strides[0] * static_cast<std::int64_t>(size_of(view.dtype));
}

cpu::SamplingRow row_of(const SamplingCall& call, std::int64_t row, std::int64_t source) {
  const TokenFilter& filter = call.filter;
  const std::int64_t top_k =
      filter.top_k_rows.given() ? filter.top_k_rows.at<std::int32_t>(row) : filter.top_k;
  const float top_p = at_row(&filter.top_p_rows, filter.top_p, row);
  const float min_p = at_row(&filter.min_p_rows, filter.min_p, row);
  return {.input = row_at(call.input, source),
          .out = call.out != nullptr ? row_at(*call.out, row) : nullptr,
          .vocab_size = call.vocab_size(),
          .dtype = call.input.dtype,
          .logits = call.source == kernel::TokenSource::kLogits,
          .mask = call.task == kernel::TokenTask::kMask,
          .joint = filter.joint,
          .top_k = top_k > 0 && top_k < call.vocab_size() ? top_k : 0,
          .top_p = top_p < 1 ? std::max(top_p, 0.0f) : 1,
          .min_p = min_p > 0 ? std::min(min_p, 1.0f) : 0,
          .factor = kernel::factor_of(at_row(call.temperature_rows, call.temperature, row)),
          .random = call.random != nullptr ? random_of(*call.random, row) : 0};
}

void put_sample(const SamplingCall& call, std::int64_t row, std::int64_t token) {
  if (call.samples->dtype == Dtype::kI64)
    call.samples->at<std::int64_t>(row) = std::max<std::int64_t>(token, 0);
  else
    call.samples->at<std::int32_t>(row) = static_cast<std::int32_t>(std::max<std::int64_t>(token, 0));
  if (call.valid->given()) call.valid->at<bool>(row) = token >= 0;
}

}  // namespace

void run_sampling_cpu(const SamplingCall& call) {
  auto* run = *cpu::sample_row;
  const auto bytes = static_cast<std::int64_t>(size_of(call.input.dtype)) * call.vocab_size();
  cpu::parallel_ranges(call.rows(), bytes, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const bool indexed = call.indices != nullptr && call.indices->given();
      const std::int64_t source = indexed ? call.indices->at<std::int32_t>(row) : row;
      const bool there = source >= 0 && source < call.input.shape[0];
      const std::int64_t token = there ? run(row_of(call, row, source)) : -1;
      if (call.samples != nullptr) put_sample(call, row, token);
    }
  });
}

}  // namespace strobe::op
