// The merge of rows whose KV was split, with a user's hooks. Comes after Hooks and kThreads.
#pragma once

#include "attention/variant_hooks.h"
#include "attention/variant_params.h"

namespace strobe::kernel {

// A block of a grid of (merges, KV heads, rows) does one row of one merge: every thread goes through the
// parts for its elements. The hooks are those of merge.item.
STROBE_DEVICE void merge_row(const AttentionParams& params, const AttentionMerge& merge, Hooks& hooks) {
  const auto kv_head = static_cast<int32_t>(blockIdx.y), row = static_cast<int32_t>(blockIdx.z);
  if (row >= merge.q_tokens * static_cast<int32_t>(params.group.value)) return;
  const int64_t stride = static_cast<int64_t>(merge.slot_stride) * params.partial_rows;
  const int64_t first = (merge.first_slot + static_cast<int64_t>(kv_head)) * params.partial_rows + row;
  float highest = minus_infinity(), total = 0;
  if constexpr (Hooks::kSoftmax) {
    for (int32_t part = 0; part < merge.parts; ++part)
      highest = fmaxf(highest, params.partial_lse[first + part * stride]);
    for (int32_t part = 0; part < merge.parts; ++part) {
      const float lse = params.partial_lse[first + part * stride];
      if (lse != minus_infinity()) total += exp2f(lse - highest);
    }
  }
  const ItemRow place(params, hooks.item, kv_head, row);
  const auto end = hooks.end(place, kv_head, highest, total);
  const auto dtype = static_cast<Dtype>(params.out_dtype);
  char* to = params.out + place.offset(hooks.item, params.out_stride_token, params.out_stride_head);
  for (auto i = static_cast<int32_t>(threadIdx.x); i < params.head_dim_vo; i += kThreads) {
    float sum = 0;
    for (int32_t part = 0; part < merge.parts; ++part) {
      const int64_t at = first + part * stride;
      const float lse = params.partial_lse[at];
      if (Hooks::kSoftmax && lse == minus_infinity()) continue;
      sum +=
          params.partial_out[at * params.head_dim_vo + i] * (Hooks::kSoftmax ? exp2f(lse - highest) : 1.0f);
    }
    store_float(to + i * (dtype == Dtype::kF32 ? 4 : 2), dtype, end.value(sum, i));
  }
  if (threadIdx.x == 0 && params.lse != nullptr)
    *reinterpret_cast<float*>(reinterpret_cast<char*>(params.lse) +
                              place.offset(hooks.item, params.lse_stride_token, params.lse_stride_head)) =
        end.lse;
}

}  // namespace strobe::kernel
