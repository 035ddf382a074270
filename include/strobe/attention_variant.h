// Attention variants: a user's own text for what happens to queries, keys, logits, masks and outputs. One
// text serves both backends: NVRTC compiles it for the GPU, the host's C++ compiler for the CPU.
//
//   const AttentionVariant variant = define_attention_variant({
//       .name = "SoftCapWithBias",
//       .text = R"(struct SoftCapWithBias {
//         static float logits(const Params& params, const LogitIndex& at, float logits) {
//           return params.cap * tanhf((logits + params.bias[at.qo_head_idx]) / params.cap);
//         }
//       };)",
//       .tensors = {{"bias", Dtype::kF32}},
//       .scalars = {{"cap", VariantScalarType::kF32}}});
//   attention.plan({…, .variant = variant});
//   const VariantArguments arguments(variant, {{bias}}, {{30.0}});
//   attention.run({…, .variant_arguments = arguments.view()});
//
// The text defines a struct of the variant's name. Of these static functions it has those that it needs:
//
//   float query(const Params&, const QueryIndex&, const auto& q, int dim)   what stands for q[dim]
//   float key(const Params&, const KeyIndex&, const auto& k, int dim)       what stands for k[dim]
//   float logits(const Params&, const LogitIndex&, float logits)            of q . k * sm_scale
//   bool mask(const Params&, const LogitIndex&)                             whether a pair is attended to
//   float output(const Params&, const QueryIndex&, float output, int dim)   of element `dim` of a result
//   constexpr bool use_softmax = true
//
// With softmax, out = v_scale * sum_j exp(logits_j) v_j / sum_j exp(logits_j); without, out = v_scale *
// sum_j logits_j v_j, and lse is NaN. Then comes `output`. A query token that attends to nothing gets 0 and
// lse -inf under softmax, and `output` is not called for it.
//
// Indices have batch_idx (the request), qo_idx, kv_idx (token numbers in the request), qo_head_idx,
// kv_head_idx, qo_len and kv_len; those with a query also position() = kv_len - qo_len + qo_idx. Params has
// sm_scale (q_scale and k_scale included), v_scale, num_qo_heads, num_kv_heads, head_dim_qk, head_dim_vo,
// window_left, qo_len, kv_len, and a member for each declared tensor (a pointer to its first element, which
// the text may write to) and scalar; a declared name hides one of these.
//
// The plan's mask and window apply first: `mask`, and then `logits` where it allows it, are called exactly
// once for each pair that these let through. Functions of C's math.h (expf, tanhf, exp2f, fmaxf, …) and
// further functions of the text may be called. A text in FlashInfer's fa2 spelling (a struct that inherits
// AttentionVariantBase, with REGISTER_… macros) is taken as well; docs/variants.md says what of it.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "strobe/dtype.h"
#include "strobe/export.h"
#include "strobe/tensor.h"

namespace strobe::inline v1 {

struct VariantTensor {
  std::string name;  // in Params; one that begins with "maybe_" may be left out of a run, and is null then
  Dtype dtype;       // f32, i8, u8, i32, i64 or bool: float, signed char, unsigned char, int, long long, bool
};

enum class VariantScalarType : std::uint8_t { kF32, kF64, kI32, kI64 };  // float, double, int, long long

struct VariantScalar {
  std::string name;
  VariantScalarType type;
};

struct AttentionVariantText {
  std::string name;  // of the struct; a C++ identifier
  std::string text;
  std::vector<VariantTensor> tensors;  // tensors and scalars: at most 24
  std::vector<VariantScalar> scalars;
};

// A variant that this process knows; it stays known until the process ends. 0: none.
struct AttentionVariant {
  std::int32_t id = 0;

  explicit operator bool() const { return id != 0; }
  friend bool operator==(const AttentionVariant&, const AttentionVariant&) = default;
};

// Makes a text known; the same one gives the same variant, from any thread. Nothing is compiled before a plan
// takes it, which throws Error(kCompile) that names the variant and its line. Errors here
// (kInvalidArgument): a name that is no identifier, an empty text, names used twice, too many parameters.
STROBE_API AttentionVariant define_attention_variant(const AttentionVariantText& text);

// The tensors and scalars of runs, in the order of their declaration. Tensors are dense, and on the device of
// the plan; their memory is not copied.
class STROBE_API VariantArguments {
 public:
  // Errors (kInvalidArgument): no such variant; another number of tensors or scalars than declared; a tensor
  // of another dtype, not dense, or left out without being a maybe_; tensors on several devices; a scalar
  // that its type does not hold.
  VariantArguments(AttentionVariant variant, std::span<const TensorView> tensors,
                   std::span<const double> scalars);
  VariantArguments(AttentionVariant variant, std::initializer_list<TensorView> tensors,
                   std::initializer_list<double> scalars)
      : VariantArguments(variant, std::span(tensors.begin(), tensors.size()),
                         std::span(scalars.begin(), scalars.size())) {}

  // For AttentionRunArgs; valid as long as this object.
  TensorView view() const;

 private:
  std::array<std::int64_t, 26> slots_{};  // variant, device (-1: no tensors), then addresses and scalars
  std::int64_t count_ = 0;
};

}  // namespace strobe::inline v1
