// Merges the partial results of rows whose KV was split, in the order of their KV ranges.
//
// A block does one row of one merge (grid: merges, KV heads, rows). Its warps take turns at the partials, and
// their sums are added in the order of the warps. A lane has four neighbouring elements of every 128.
#include "attention/rows.h"
#include "ptx/dependency.h"
#include "ptx/memory.h"
#include "ptx/shuffle.h"
#include "tile/element.h"

namespace strobe::kernel {

constexpr int kThreads = 128, kWarps = 4, kMostDims = 512, kAhead = 8, kLaneDims = 4;
constexpr int kPassDims = kWarpThreads * kLaneDims;

STROBE_DEVICE float highest_of(const float* lse, int64_t stride, int32_t parts) {
  float highest = minus_infinity();
  for (int32_t part = 0; part < parts; ++part) highest = fmaxf(highest, lse[part * stride]);
  return highest;
}

// This warp's share of the weighted sum of the partials' elements, and of the weights.
STROBE_DEVICE void add_parts(const float* out, int64_t out_stride, const float* lse, int64_t lse_stride,
                             int32_t parts, float highest, bool has_elements, float (&sum)[kLaneDims],
                             float& total) {
  for (int32_t first = static_cast<int32_t>(threadIdx.x) / kWarpThreads; first < parts;
       first += kWarps * kAhead) {
    float weight[kAhead];
    Access<16> x[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const int32_t part = first + i * kWarps;
      const float its = part < parts ? lse[part * lse_stride] : minus_infinity();
      // The elements of an empty partial may be anything: even 0 times them could be NaN.
      weight[i] = its == minus_infinity() ? 0.0f : exp2f(its - highest);
      x[i] = {};
      if (its != minus_infinity() && has_elements) x[i] = load<16>(out + part * out_stride);
    }
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      total += weight[i];
#pragma unroll
      for (int j = 0; j < kLaneDims; ++j) sum[j] += weight[i] * float_of(x[i].word[j]);
    }
  }
}

}  // namespace strobe::kernel

extern "C" __global__ void __launch_bounds__(strobe::kernel::kThreads)
    strobe_attention_merge(const __grid_constant__ strobe::kernel::AttentionParams params) {
  using namespace strobe::kernel;
  __shared__ float sums[kWarps][kPassDims], totals[kWarps];
  let_next_kernel_begin();
  wait_for_kernel_before();
  if (params.counts != nullptr && static_cast<int32_t>(blockIdx.x) >= params.counts->merges) return;
  const AttentionMerge merge = params.merges[blockIdx.x];
  const auto row = static_cast<int32_t>(blockIdx.z), group = static_cast<int32_t>(params.group.value);
  if (row >= merge.q_tokens * group) return;
  const int32_t token = static_cast<int32_t>(quotient(row, params.group));
  const int32_t kv_head = merge.kv_head + static_cast<int32_t>(blockIdx.y);
  const int32_t head = kv_head * group + row - token * group;

  const int64_t slot_rows = static_cast<int64_t>(merge.slot_stride) * params.partial_rows;
  const int64_t first = (merge.first_slot + static_cast<int64_t>(blockIdx.y)) * params.partial_rows + row;
  const float* lse = params.partial_lse + first;
  const float highest = highest_of(lse, slot_rows, merge.parts);
  const int32_t warp = static_cast<int32_t>(threadIdx.x) / kWarpThreads;
  const int32_t column = static_cast<int32_t>(threadIdx.x) % kWarpThreads * kLaneDims;
  const auto dtype = static_cast<Dtype>(params.out_dtype);
  char* to = params.out + (merge.q_row + token) * params.out_stride_token + head * params.out_stride_head;
  for (int32_t pass = 0; pass < params.head_dim_vo; pass += kPassDims) {
    float sum[kLaneDims] = {}, total = 0;
    const bool has_elements = pass + column < params.head_dim_vo;
    add_parts(params.partial_out + first * params.head_dim_vo + pass + column, slot_rows * params.head_dim_vo,
              lse, slot_rows, merge.parts, highest, has_elements, sum, total);
#pragma unroll
    for (int j = 0; j < kLaneDims; ++j) sums[warp][column + j] = sum[j];
    if (column == 0) totals[warp] = total;
    __syncthreads();
    total = ((totals[0] + totals[1]) + totals[2]) + totals[3];
    const RowEnd end(params, highest, total, head, true);
    const auto i = static_cast<int32_t>(threadIdx.x);
    if (pass + i < params.head_dim_vo)
      store_float(to + (pass + i) * size_of(dtype), dtype,
                  total == 0 ? 0 : (((sums[0][i] + sums[1][i]) + sums[2][i]) + sums[3][i]) * end.factor);
    if (pass == 0 && i == 0 && params.lse != nullptr)
      *reinterpret_cast<float*>(reinterpret_cast<char*>(params.lse) +
                                (merge.q_row + token) * params.lse_stride_token +
                                head * params.lse_stride_head) = end.lse;
    __syncthreads();
  }
}
