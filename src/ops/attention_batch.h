// What the backends of planned attention take: a batch's shape at plan, its tensors at run.
#pragma once

#include <cstdint>
#include <span>

#include "ops/attention_variant.h"
#include "strobe/attention.h"

namespace strobe::ops {

// The index arrays must outlive the plan.
struct AttentionShape {
  std::span<const std::int32_t> qo_indptr, kv_len, kv_indptr, kv_indices;
  int num_qo_heads, num_kv_heads, head_dim_qk, head_dim_vo, page_size;
  Dtype q_dtype, kv_dtype;
  const TensorView* alibi_slopes;  // not given: none, or the default slopes when the options ask for ALiBi
  const TensorView* custom_mask;
  std::span<const std::int64_t> custom_mask_indptr;
  const VariantRecord* variant = nullptr;  // null: none
};

// Scales by head of e4m3 queries, keys and values; null: 1.
struct HeadScales {
  const float *q = nullptr, *k = nullptr, *v = nullptr;

  HeadScales() = default;
  HeadScales(const TensorView& q, const TensorView& k, const TensorView& v) : q(of(q)), k(of(k)), v(of(v)) {}

 private:
  static const float* of(const TensorView& view) { return view.given() ? view.as<const float>() : nullptr; }
};

// k and v with their axes told apart; the run's scales, which multiply those of the plan.
struct AttentionTensors {
  const TensorView *q, *k, *v, *sinks, *out, *lse, *variant_arguments;
  std::int64_t k_stride_page, k_stride_token, k_stride_head;
  std::int64_t v_stride_page, v_stride_token, v_stride_head;
  std::int64_t num_kv;  // rows or, paged, pages of k and v
  float qk_scale = 1, v_scale = 1;
  HeadScales head_scales;
};

}  // namespace strobe::ops
