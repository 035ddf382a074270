// What the attention declarations have in common.
#pragma once

#include "op/declare.h"
#include "op/validate.h"
#include "strobe/attention.h"

namespace strobe::ops {

inline constexpr op::DtypeSet kQueryDtypes = {Dtype::kF32, Dtype::kF16, Dtype::kBf16, Dtype::kE4m3};
inline constexpr op::DtypeSet kKvDtypes = op::kFloatsAndFp8;

// Declares the fields of AttentionOptions, found in Args by the path.
template <class Args, auto... Path>
void declare_options(op::Declare<Args>& declare, bool planned) {
  const auto phase = [&] {
    if (planned) declare.planned();
  };
  declare.template choice<Path..., &AttentionOptions::mask>("mask", {"none", "causal", "custom"},
                                                            "which KV tokens a query token sees");
  phase();
  declare.template attribute<Path..., &AttentionOptions::window_left>(
      "window_left", -1, 1 << 30, "sliding window: j >= p - window_left; -1 off");
  phase();
  declare.template attribute<Path..., &AttentionOptions::logits_soft_cap>("logits_soft_cap", 0, 1e30,
                                                                          "cap * tanh(x / cap); 0 off");
  phase();
  declare.template attribute<Path..., &AttentionOptions::sm_scale>("sm_scale", -1e30, 1e30,
                                                                   "0: 1 / sqrt(head_dim_qk)");
  phase();
  declare.template attribute<Path..., &AttentionOptions::q_scale>("q_scale", -1e30, 1e30, "factor of q");
  phase();
  declare.template attribute<Path..., &AttentionOptions::k_scale>("k_scale", -1e30, 1e30,
                                                                  "factor of k, for a quantised cache");
  phase();
  declare.template attribute<Path..., &AttentionOptions::v_scale>("v_scale", -1e30, 1e30,
                                                                  "factor of v, for a quantised cache");
  phase();
  declare.template choice<Path..., &AttentionOptions::pos_encoding>("pos_encoding", {"none", "rope", "alibi"},
                                                                    "applied on the fly");
  phase();
  declare.template attribute<Path..., &AttentionOptions::rope, &RopeScaling::scale>(
      "rope_scale", 1e-6, 1e6, "divides positions; Llama-3.1: the factor");
  phase();
  declare.template attribute<Path..., &AttentionOptions::rope, &RopeScaling::theta>(
      "rope_theta", 1e-6, 1e12, "base of the frequencies");
  phase();
  declare.template attribute<Path..., &AttentionOptions::rope, &RopeScaling::llama31>(
      "rope_llama31", "Llama-3.1 frequency smoothing");
  phase();
  declare.template attribute<Path..., &AttentionOptions::rope_interleave>(
      "rope_interleave", "pairs (2i, 2i + 1) instead of (i, i + head_dim / 2)");
  phase();
  declare.template attribute<Path..., &AttentionOptions::deterministic>(
      "deterministic", "a request's bits depend on the request alone");
  phase();
}

inline void check_head_dim(const op::Operator& op, std::string_view argument, std::int64_t head_dim) {
  if (head_dim < 8 || head_dim > 512 || head_dim % 8 != 0)
    op::reject(op, argument, "expected a multiple of 8 from 8 to 512, got {}", head_dim);
}

inline void check_group(const op::Operator& op, std::int64_t num_qo_heads, std::int64_t num_kv_heads) {
  if (num_kv_heads < 1 || num_qo_heads < 1 || num_qo_heads % num_kv_heads != 0)
    op::reject(op, "num_qo_heads", "expected a positive multiple of num_kv_heads = {}, got {}", num_kv_heads,
               num_qo_heads);
}

// KV in the dtype of q, or quantised.
inline void check_kv_dtype(const op::Operator& op, std::string_view argument, Dtype q, Dtype kv) {
  if (q == Dtype::kE4m3 && kv != q)
    op::reject(op, argument, "expected dtype e4m3 (that of q), got {}", name(kv));
  if (kv != q && !op::kFp8.contains(kv))
    op::reject(op, argument, "expected dtype {} (that of q), e4m3 or e5m2, got {}", name(q), name(kv));
}

// Args: what has q and its scales by head.
template <class Args>
void check_head_scales(const op::Operator& op, const Args& args) {
  for (const auto& [argument, view] :
       {std::pair{"q_scales", &args.q_scales}, {"k_scales", &args.k_scales}, {"v_scales", &args.v_scales}})
    if (view->given() && args.q.dtype != Dtype::kE4m3)
      op::reject(op, argument, "expected none, since q is {} and no e4m3, got {}", name(args.q.dtype),
                 describe(*view));
}

// Declares them as fields of Holder, found in Args by the path.
template <class Holder, auto... Path, class Args>
void declare_head_scales(op::Declare<Args>& declare) {
  declare
      .template input<Path..., &Holder::q_scales>("q_scales", "num_qo_heads", Dtype::kF32,
                                                  "factor of each head of q in e4m3")
      .dense()
      .optional()
      .template input<Path..., &Holder::k_scales>("k_scales", "num_kv_heads", Dtype::kF32,
                                                  "factor of each head of k in e4m3")
      .dense()
      .optional()
      .template input<Path..., &Holder::v_scales>("v_scales", "num_kv_heads", Dtype::kF32,
                                                  "factor of each head of v in e4m3")
      .dense()
      .optional();
}

inline void check_custom_mask(const op::Operator& op, const AttentionOptions& options,
                              const TensorView& custom_mask) {
  if ((options.mask == MaskMode::kCustom) != custom_mask.given())
    op::reject(op, "custom_mask", "expected {} with mask {}, got {}", custom_mask.given() ? "none" : "one",
               options.mask == MaskMode::kCustom ? "custom" : "none or causal", describe(custom_mask));
}

// FLOPs of one (query token, KV token) pair and query head: a product with k and one with v.
inline double flops_per_pair(std::int64_t head_dim_qk, std::int64_t head_dim_vo) {
  return 2.0 * static_cast<double>(head_dim_qk + head_dim_vo);
}

// Pairs that mask and window let through, for one request. A custom mask counts as full.
double attended_pairs(std::int64_t qo_len, std::int64_t kv_len, const AttentionOptions& options);

// KV tokens of a request that any of its query tokens sees.
std::int64_t attended_kv(std::int64_t qo_len, std::int64_t kv_len, const AttentionOptions& options);

// bf16 where the machine's bf16 dot products may be used.
inline Dtype attention_math(Dtype q, Dtype kv) {
  return q == Dtype::kBf16 && (kv == Dtype::kBf16 || op::kFp8.contains(kv)) ? Dtype::kBf16 : Dtype::kF32;
}

}  // namespace strobe::ops
