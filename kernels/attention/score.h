// What a product of a query and a key becomes.
#pragma once

#include "attention/rows.h"
#include "ptx/exponent.h"

namespace strobe::kernel {

// tanh from the exponential, to 2^-21 absolutely.
STROBE_DEVICE float tanh_of(float x) {
  return 1.0f - 2.0f * reciprocal_approx(exp2_approx(x * (2 * kLog2E)) + 1.0f);
}

// The base-2 logit of a row and a KV token in its range (`attended`), or -inf where the custom mask hides the
// token.
STROBE_DEVICE float score_of(const AttentionParams& params, const AttentionItem& item, const ItemRow& row,
                             int32_t token, float product) {
  if (!mask_allows(params, item, row.token, token)) return minus_infinity();
  float x = product * params.scale;
  if (params.alibi_slopes != nullptr)
    x += params.alibi_slopes[row.head] * static_cast<float>(token - row.position);
  if (params.logits_soft_cap > 0) x = params.logits_soft_cap * tanh_of(x * params.soft_cap_inverse);
  return x * kLog2E;
}

}  // namespace strobe::kernel
