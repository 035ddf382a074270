// Attention as one writes it down oneself: logits that a bias for each head shifts and a tanh keeps within
// bounds. The text is compiled when the plan first takes it.
#include <strobe/strobe.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <vector>

using strobe::Dtype, strobe::Tensor, strobe::TensorView;

constexpr const char* kText = R"(
struct SoftCapWithBias {
  static float logits(const Params& params, const LogitIndex& at, float logits) {
    return params.cap * tanhf((logits + params.bias[at.qo_head_idx]) / params.cap);
  }
  static bool mask(const Params&, const LogitIndex& at) { return at.kv_idx != 1; }
};
)";

int main() {
  const strobe::AttentionVariant variant =
      strobe::define_attention_variant({.name = "SoftCapWithBias",
                                        .text = kText,
                                        .tensors = {{"bias", Dtype::kF32}},
                                        .scalars = {{"cap", strobe::VariantScalarType::kF32}}});
  // One request of one query token and three KV tokens, one head. Its logits are 1, 0 and -1.
  Tensor q(Dtype::kF32, {1, 1, 8}), k(Dtype::kF32, {3, 1, 8}), v(Dtype::kF32, {3, 1, 8}),
      out(Dtype::kF32, {1, 1, 8});
  for (int d = 0; d < 8; ++d) {
    q.as<float>()[d] = 1;
    for (int j = 0; j < 3; ++j) {
      k.as<float>()[8 * j + d] = static_cast<float>(1 - j) / 8;
      v.as<float>()[8 * j + d] = static_cast<float>(j);
    }
  }
  std::vector<std::int32_t> qo_indptr = {0, 1}, kv_indptr = {0, 3};
  std::vector<float> bias = {0.5f};
  strobe::BatchAttention attention;
  attention.plan({.qo_indptr = TensorView::of(qo_indptr),
                  .kv_indptr = TensorView::of(kv_indptr),
                  .num_qo_heads = 1,
                  .num_kv_heads = 1,
                  .head_dim_qk = 8,
                  .q_dtype = Dtype::kF32,
                  .kv_dtype = Dtype::kF32,
                  .options = {.sm_scale = 1},
                  .variant = variant});
  const strobe::VariantArguments arguments(variant, {TensorView::of(bias)}, {2.0});
  attention.run({.q = q, .k = k, .v = v, .out = out, .variant_arguments = arguments.view()});

  // Token 1 is masked: the value is 2 times the weight of token 2.
  const double first = std::exp(2 * std::tanh(0.75)), last = std::exp(2 * std::tanh(-0.25));
  const double expected = 2 * last / (first + last);
  const double got = static_cast<double>(out.as<float>()[0]);
  std::printf("out %.6f, expected %.6f\n", got, expected);
  return std::abs(got - expected) < 1e-5 ? 0 : 1;
}
