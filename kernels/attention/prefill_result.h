// What a warp's rows leave behind: outputs and log-sum-exps, or partial results for the merge. For kernels
// with the constants of prefill_block.h, behind their Hooks.
#pragma once

#include "attention/prefill_tile.h"

namespace strobe::kernel {

STROBE_DEVICE void store_pair(char* to, Dtype dtype, float first, float second) {
  if constexpr (kRowForm == RowForm::kLoaded) {
    store_float(to, dtype, first);
    store_float(to + (dtype == Dtype::kF32 ? 4 : 2), dtype, second);
  } else if (dtype == Dtype::kF32) {
    *reinterpret_cast<float2*>(to) = float2{first, second};
  } else {
    *reinterpret_cast<uint32_t*>(to) =
        dtype == Dtype::kF16 ? pair_of<Dtype::kF16>(first, second) : pair_of<Dtype::kBf16>(first, second);
  }
}

// A lane's share of a row's results: whole ones as the hooks end them, others normalised over their part.
STROBE_DEVICE void finish_row(const AttentionParams& params, const Shared& shared, Hooks& hooks,
                              int32_t number, float maximum, float sum, const float (&out)[kVoGroups][2]) {
  const bool whole = shared.item.slot < 0;
  const auto dtype = whole ? static_cast<Dtype>(params.out_dtype) : Dtype::kF32;
  const int32_t bytes = dtype == Dtype::kF32 ? 4 : 2;
  const ItemRow row = place_of_row(params, shared, number);
  const auto end = hooks.end(row, kv_head_of_block(), maximum, sum, whole);
  const int64_t partial =
      static_cast<int64_t>(shared.item.slot + kv_head_of_block()) * params.partial_rows + number;
  char* to = whole ? params.out + row.offset(shared.item, params.out_stride_token, params.out_stride_head)
                   : reinterpret_cast<char*>(params.partial_out + partial * params.head_dim_vo);
  to += first_dim_of_block() * bytes;
#pragma unroll
  for (int d = 0; d < kVoGroups; ++d) {
    const int32_t column = d * 8 + lane_of_thread() % 4 * 2;
    if (column < dims_of_block(params))
      store_pair(to + column * bytes, dtype, end.value(out[d][0], column), end.value(out[d][1], column + 1));
  }
  if (lane_of_thread() % 4 != 0 || first_dim_of_block() != 0) return;
  if (!whole)
    params.partial_lse[partial] = end.lse;
  else if (params.lse != nullptr)
    *reinterpret_cast<float*>(reinterpret_cast<char*>(params.lse) +
                              row.offset(shared.item, params.lse_stride_token, params.lse_stride_head)) =
        end.lse;
}

STROBE_DEVICE void finish_rows(const AttentionParams& params, const Shared& shared, Hooks& hooks,
                               const RowStates& state, const Outputs& out) {
  const float scale = kGeneral ? 1.0f : params.scale_log2;
#pragma unroll
  for (int t = 0; t < kRowTiles; ++t)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float sum = state.sums.of_row(t, half);
      const int32_t number = row_of_lane(shared, t, half);
      if (number >= shared.rows) continue;
      float row[kVoGroups][2];
#pragma unroll
      for (int d = 0; d < kVoGroups; ++d) {
        row[d][0] = out[t][d][half * 2];
        row[d][1] = out[t][d][half * 2 + 1];
      }
      finish_row(params, shared, hooks, number, state.reference[t][half] * scale, sum, row);
    }
}

}  // namespace strobe::kernel
