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

// The largest of all partials; each lane looks at some.
STROBE_DEVICE float highest_of(const float* lse, int64_t stride, int32_t parts) {
  float highest = minus_infinity();
  for (int32_t part = static_cast<int32_t>(threadIdx.x) % kWarpThreads; part < parts; part += kWarpThreads)
    highest = fmaxf(highest, lse[part * stride]);
#pragma unroll
  for (int distance = 1; distance < kWarpThreads; distance *= 2)
    highest = fmaxf(highest, __shfl_xor_sync(0xffffffff, highest, distance));
  return highest;
}

// kAhead of this warp's partials, on their way together.
struct Batch {
  float lse[kAhead];
  Access<16> x[kAhead];

  STROBE_DEVICE void load_parts(const float* out, int64_t out_stride, const float* lse_of_parts,
                                int64_t lse_stride, int32_t first, int32_t parts, bool has_elements) {
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const int32_t part = first + i * kWarps;
      x[i] = {};
      lse[i] = minus_infinity();
      if (part < parts && has_elements) x[i] = load<16>(out + part * out_stride);
      if (part < parts) lse[i] = lse_of_parts[part * lse_stride];
    }
  }
  // The elements of an empty partial may be anything: even 0 times them could be NaN.
  STROBE_DEVICE void add_to(float (&sum)[kLaneDims], float& total, float highest) const {
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      if (lse[i] == minus_infinity()) continue;
      const float weight = exp2f(lse[i] - highest);
      total += weight;
#pragma unroll
      for (int j = 0; j < kLaneDims; ++j) sum[j] += weight * float_of(x[i].word[j]);
    }
  }
};

// This warp's share of the weighted sum of the partials' elements, and of the weights. Returns the largest
// log-sum-exp, for which nothing waits but the weights.
STROBE_DEVICE float add_parts(const float* out, int64_t out_stride, const float* lse, int64_t lse_stride,
                              int32_t parts, bool has_elements, float (&sum)[kLaneDims], float& total) {
  Batch batch;
  int32_t first = static_cast<int32_t>(threadIdx.x) / kWarpThreads;
  batch.load_parts(out, out_stride, lse, lse_stride, first, parts, has_elements);
  const float highest = highest_of(lse, lse_stride, parts);
  for (;;) {
    batch.add_to(sum, total, highest);
    first += kWarps * kAhead;
    if (first >= parts) return highest;
    batch.load_parts(out, out_stride, lse, lse_stride, first, parts, has_elements);
  }
}

STROBE_DEVICE AttentionMerge load_merge(const AttentionMerge* merge) {
  const auto first = load_settled<16>(merge), second = load_settled<16>(&merge->slot_stride);
  const auto number = [](uint32_t word) { return static_cast<int32_t>(word); };
  return {.kv_head = number(first.word[0]),
          .q_row = number(first.word[1]),
          .q_tokens = number(first.word[2]),
          .first_slot = number(first.word[3]),
          .slot_stride = number(second.word[0]),
          .parts = number(second.word[1]),
          .unused = {}};
}

}  // namespace strobe::kernel

extern "C" __global__ void __launch_bounds__(strobe::kernel::kThreads)
    strobe_attention_merge(const __grid_constant__ strobe::kernel::AttentionParams params) {
  using namespace strobe::kernel;
  __shared__ float sums[kWarps][kPassDims], totals[kWarps];
  // The plan was copied before; the partials come from the kernel before.
  const bool used = params.counts == nullptr || blockIdx.x < load_settled<4>(&params.counts->merges).word[0];
  const AttentionMerge merge = used ? load_merge(params.merges + blockIdx.x) : AttentionMerge{};
  wait_for_kernel_before();
  let_next_kernel_begin();
  const auto row = static_cast<int32_t>(blockIdx.z), group = static_cast<int32_t>(params.group.value);
  if (row >= merge.q_tokens * group) return;
  const int32_t token = static_cast<int32_t>(quotient(row, params.group));
  const int32_t kv_head = merge.kv_head + static_cast<int32_t>(blockIdx.y);
  const int32_t head = kv_head * group + row - token * group;

  const int64_t slot_rows = static_cast<int64_t>(merge.slot_stride) * params.partial_rows;
  const int64_t first = (merge.first_slot + static_cast<int64_t>(blockIdx.y)) * params.partial_rows + row;
  const float* lse = params.partial_lse + first;
  const int32_t warp = static_cast<int32_t>(threadIdx.x) / kWarpThreads;
  const int32_t column = static_cast<int32_t>(threadIdx.x) % kWarpThreads * kLaneDims;
  const auto dtype = static_cast<Dtype>(params.out_dtype);
  char* to = params.out + (merge.q_row + token) * params.out_stride_token + head * params.out_stride_head;
  for (int32_t pass = 0; pass < params.head_dim_vo; pass += kPassDims) {
    float sum[kLaneDims] = {}, total = 0;
    const bool has_elements = pass + column < params.head_dim_vo;
    const float highest =
        add_parts(params.partial_out + first * params.head_dim_vo + pass + column,
                  slot_rows * params.head_dim_vo, lse, slot_rows, merge.parts, has_elements, sum, total);
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
