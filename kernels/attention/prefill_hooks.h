// What the library itself does between the products of the prefill kernel: ALiBi, soft cap, sinks, scales.
#pragma once

#include "attention/prefill_form.h"
#include "attention/rows.h"
#include "ptx/exponent.h"

namespace strobe::kernel {

struct Hooks {
  static constexpr bool kOfUser = false, kSoftmax = true, kMasks = false;
  static constexpr bool kQuery = kRowForm == RowForm::kChanged, kKey = kQuery;

  const AttentionParams& params;

  STROBE_DEVICE Hooks(const AttentionParams& params, const AttentionItem&) : params(params) {}

  // A row's products become base-2 logits; the first is of `token`, which a lane's others follow in groups of
  // 8. The cap is tanh from the exponential, to 2^-21 absolutely.
  template <class Row, int kGroups>
  STROBE_DEVICE void finish_logits(const Row& row, int32_t token, int half, float (&x)[kGroups][4]) const {
    const bool capped = params.logits_soft_cap > 0;
    const float unit = capped ? params.soft_cap_inverse * (2 * kLog2E) : kLog2E;
    const float scale = params.scale * unit;
    const float cap = params.logits_soft_cap * kLog2E;
    if (params.alibi_slopes != nullptr) {
      const float slope = params.alibi_slopes[row.head] * unit;
      const float first = slope * static_cast<float>(token - row.position);
#pragma unroll
      for (int n = 0; n < kGroups; ++n)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          float& logit = x[n][half * 2 + i];
          logit = fmaf(logit, scale, fmaf(slope, static_cast<float>(n * 8 + i), first));
        }
    } else {
#pragma unroll
      for (int n = 0; n < kGroups; ++n)
#pragma unroll
        for (int i = 0; i < 2; ++i) x[n][half * 2 + i] *= scale;
    }
    if (!capped) return;
#pragma unroll
    for (int n = 0; n < kGroups; ++n)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float& logit = x[n][half * 2 + i];
        logit = fmaf(-2 * cap, reciprocal_approx(exp2_approx(logit) + 1.0f), cap);
      }
  }

  // How a row ends, or, if it is not whole, a part of it that is to be merged.
  struct End {
    float factor, lse;
    bool empty;
    STROBE_DEVICE float value(float x, int32_t) const { return empty ? 0 : x * factor; }
  };
  STROBE_DEVICE End end(const ItemRow& row, int32_t, float maximum, float sum, bool whole) const {
    const RowEnd end(params, maximum, sum, row.head, whole);
    return {end.factor, end.lse, sum == 0};
  }
};

}  // namespace strobe::kernel
