// The transforms that the library has itself, as the hooks of with_hooks.cuh: RoPE on the fly, ALiBi, soft
// cap, sinks.
#pragma once

#include "attention/rows.h"
#include "rope/cos_sin.h"

namespace strobe::kernel {

struct Hooks {
  static constexpr bool kSoftmax = true;

  const AttentionParams& params;

  STROBE_DEVICE explicit Hooks(const AttentionParams& params) : params(params) {}

  template <class Row>
  STROBE_DEVICE float query(const Row& q, int32_t i, const ItemRow& row, int32_t) const {
    return rotated(q, i, row.position);
  }
  template <class Row>
  STROBE_DEVICE float key(const Row& k, int32_t i, int32_t token, int32_t) const {
    return rotated(k, i, token);
  }
  STROBE_DEVICE float logit(const ItemRow& row, int32_t, int32_t token, float product) const {
    float x = product * params.scale;
    if (params.alibi_slopes != nullptr)
      x += params.alibi_slopes[row.head] * static_cast<float>(token - row.position);
    if (params.logits_soft_cap > 0) x = params.logits_soft_cap * tanhf(x / params.logits_soft_cap);
    return x * kLog2E;
  }
  struct End {
    float factor, lse;
    bool empty;
    STROBE_DEVICE float value(float x, int32_t) const { return empty ? 0 : x * factor; }
  };
  STROBE_DEVICE End end(const ItemRow& row, int32_t, float maximum, float sum) const {
    const RowEnd end(params, maximum, sum, row.head, true);
    return {end.factor, end.lse, sum == 0};
  }

 private:
  // Element i of a row, turned to `position` if RoPE is on.
  template <class Row>
  STROBE_DEVICE float rotated(const Row& row, int32_t i, int32_t position) const {
    const float x = row[i];
    if (params.rope_turns == nullptr) return x;
    const int32_t half = params.head_dim_qk / 2;
    const bool first = params.rope_interleave ? i % 2 == 0 : i < half;
    const int32_t distance = params.rope_interleave ? 1 : half;
    const int32_t pair = params.rope_interleave ? i / 2 : first ? i : i - half;
    const float other = row[first ? i + distance : i - distance];
    const float2 turn = cos_sin_of_turns(
        static_cast<uint32_t>((params.rope_turns[pair] * static_cast<uint64_t>(position)) >> 32));
    return first ? x * turn.x - other * turn.y : x * turn.x + other * turn.y;
  }
};

}  // namespace strobe::kernel
