#include "ops/attention_params.h"

#include <cmath>
#include <numbers>

#include "ops/cuda_rows.h"

namespace strobe::ops {

PlannedScales set_planned(const AttentionShape& shape, const AttentionOptions& options,
                          kernel::AttentionParams& params) {
  params.page_size = shape.page_size > 0 ? op::divisor(shape.page_size) : kernel::Divisor{0, 0, 0};
  params.group = op::divisor(shape.num_qo_heads / shape.num_kv_heads);
  params.num_kv_heads = shape.num_kv_heads;
  params.head_dim_qk = shape.head_dim_qk;
  params.head_dim_vo = shape.head_dim_vo;
  params.q_dtype = static_cast<std::int32_t>(shape.q_dtype);
  params.kv_dtype = static_cast<std::int32_t>(shape.kv_dtype);
  const float sm_scale =
      options.sm_scale != 0 ? options.sm_scale : 1 / std::sqrt(static_cast<float>(shape.head_dim_qk));
  params.logits_soft_cap = options.logits_soft_cap;
  params.soft_cap_inverse = options.logits_soft_cap > 0 ? 1 / options.logits_soft_cap : 0;
  params.causal = options.mask == MaskMode::kCausal;
  params.window_left = options.window_left;
  params.rope_interleave = options.rope_interleave;
  return {.qk = sm_scale * options.q_scale * options.k_scale, .v = options.v_scale};
}

void set_tensors(const AttentionTensors& tensors, const PlannedScales& scales,
                 kernel::AttentionParams& params) {
  const auto bytes = [](const TensorView& view) { return static_cast<std::int64_t>(size_of(view.dtype)); };
  const std::int64_t q_bytes = bytes(*tensors.q), kv_bytes = bytes(*tensors.k),
                     out_bytes = bytes(*tensors.out);
  params.q = tensors.q->as<const char>();
  params.q_stride_token = tensors.q->strides[0] * q_bytes;
  params.q_stride_head = tensors.q->strides[1] * q_bytes;
  params.k = tensors.k->as<const char>();
  params.k_stride_page = tensors.k_stride_page * kv_bytes;
  params.k_stride_token = tensors.k_stride_token * kv_bytes;
  params.k_stride_head = tensors.k_stride_head * kv_bytes;
  params.v = tensors.v->as<const char>();
  params.v_stride_page = tensors.v_stride_page * kv_bytes;
  params.v_stride_token = tensors.v_stride_token * kv_bytes;
  params.v_stride_head = tensors.v_stride_head * kv_bytes;
  params.out = tensors.out->as<char>();
  params.out_stride_token = tensors.out->strides[0] * out_bytes;
  params.out_stride_head = tensors.out->strides[1] * out_bytes;
  params.out_dtype = static_cast<std::int32_t>(tensors.out->dtype);
  params.lse = tensors.lse->given() ? tensors.lse->as<float>() : nullptr;
  params.lse_stride_token = tensors.lse->strides[0] * static_cast<std::int64_t>(sizeof(float));
  params.lse_stride_head = tensors.lse->strides[1] * static_cast<std::int64_t>(sizeof(float));
  params.sinks = tensors.sinks->given() ? tensors.sinks->as<const float>() : nullptr;
  params.scale = scales.qk * tensors.qk_scale;
  params.scale_log2 = params.scale * std::numbers::log2e_v<float>;
  params.v_scale = scales.v * tensors.v_scale;
  params.q_scales = tensors.head_scales.q;
  params.k_scales = tensors.head_scales.k;
  params.v_scales = tensors.head_scales.v;
}

}  // namespace strobe::ops
