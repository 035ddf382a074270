// The norms whose result is divided by a scale and quantised to fp8.
#include <cfloat>

#include "op/call.h"
#include "op/declare.h"
#include "ops/norm_cpu.h"
#include "ops/norm_cuda.h"
#include "ops/operand_bytes.h"
#include "reference/norm.h"
#include "strobe/norm.h"

namespace strobe::inline v1 {
namespace {

using kernel::NormForm;
using op::Axes;
using op::Cost;
using op::Declare;
using op::kFloats;
using op::kFp8;
using op::operand_bytes;
using op::Operator;
using op::run_norm;
using op::run_norm_cuda;
using op::same_as;

constexpr char kScaleDoc[] = "value of one step of out: out * scale approximates the norm";

const Operator& rmsnorm_quant_operator() {
  using Args = RmsNormQuantArgs;
  static const Operator op =
      Declare<Args>("rmsnorm_quant", "norm_quant",
                    "Root-mean-square normalisation of rows, quantised to fp8.")
          .formula(
              "out[i, j] = saturate(input[i, j] / sqrt(mean_j(input[i, j]^2) + eps) * (weight[j] + gemma) / "
              "scale)")
          .source(
              "Zhang and Sennrich, Root Mean Square Layer Normalization, 2019; quantised as in FlashInfer")
          .function("strobe::rmsnorm_quant")
          .axis("num_tokens", 4096, "rows")
          .axis("hidden", 4096, "elements of a row")
          .input<&Args::input>("input", "num_tokens..., hidden", kFloats, "rows to normalise")
          .input<&Args::weight>("weight", "hidden", same_as("input"), "factor of each column")
          .output<&Args::out>("out", "num_tokens..., hidden", kFp8, "normalised and quantised rows")
          .attribute<&Args::scale>("scale", FLT_MIN, FLT_MAX, kScaleDoc)
          .attribute<&Args::eps>("eps", 0, 1, "added to the mean square")
          .attribute<&Args::gemma>("gemma", "multiply by 1 + weight")
          .cost([](const Args& args, const Axes&) {
            return Cost{.flops = 5 * static_cast<double>(args.input.size()),
                        .bytes = operand_bytes(args.input, args.weight, args.out)};
          })
          .accuracy(op::NormAccuracy{})
          .reference([](const Args& args, const Axes&, op::Expected& expected) {
            reference::rmsnorm_quant(args, expected);
          })
          .backend(Backend::kCpu,
                   [](const Args& args, const Axes&, const Launch&) {
                     run_norm(cpu::rmsnorm_rows,
                              {.eps = args.eps,
                               .weight_offset = args.gemma ? 1.0f : 0.0f,
                               .out_factor = 1 / args.scale},
                              {.input = args.input, .weight = args.weight, .out = args.out});
                   })
          .backend(Backend::kCudaSm80,
                   [](const Args& args, const Axes&, const Launch& launch) {
                     run_norm_cuda("rmsnorm_quant", NormForm::kRms,
                                   {.input = args.input, .weight = args.weight, .out = args.out},
                                   {.eps = args.eps,
                                    .weight_offset = args.gemma ? 1.0f : 0.0f,
                                    .out_factor = 1 / args.scale},
                                   launch);
                   })
          .build();
  return op;
}

const Operator& fused_add_rmsnorm_quant_operator() {
  using Args = FusedAddRmsNormQuantArgs;
  static const Operator op =
      Declare<Args>("fused_add_rmsnorm_quant", "norm_quant",
                    "Adds input to the residual in place, normalises the sum and quantises it to fp8.")
          .formula(
              "x = input + residual; residual = x; "
              "out[i, j] = saturate(x[i, j] / sqrt(mean_j(x[i, j]^2) + eps) * (weight[j] + gemma) / scale)")
          .source(
              "Zhang and Sennrich, Root Mean Square Layer Normalization, 2019; fused and quantised as in "
              "FlashInfer")
          .function("strobe::fused_add_rmsnorm_quant")
          .axis("num_tokens", 4096, "rows")
          .axis("hidden", 4096, "elements of a row")
          .input<&Args::input>("input", "num_tokens..., hidden", kFloats, "rows to add")
          .inout<&Args::residual>("residual", "num_tokens..., hidden", same_as("input"),
                                  "receives the sum, rounded")
          .input<&Args::weight>("weight", "hidden", same_as("input"), "factor of each column")
          .output<&Args::out>("out", "num_tokens..., hidden", kFp8, "normalised and quantised sum")
          .attribute<&Args::scale>("scale", FLT_MIN, FLT_MAX, kScaleDoc)
          .attribute<&Args::eps>("eps", 0, 1, "added to the mean square")
          .attribute<&Args::gemma>("gemma", "multiply by 1 + weight")
          .cost([](const Args& args, const Axes&) {
            return Cost{
                .flops = 6 * static_cast<double>(args.input.size()),
                .bytes = operand_bytes(args.input, args.residual, args.residual, args.weight, args.out)};
          })
          .accuracy(op::FusedNormAccuracy{})
          .reference([](const Args& args, const Axes&, op::Expected& expected) {
            reference::fused_add_rmsnorm_quant(args, expected);
          })
          .backend(Backend::kCpu,
                   [](const Args& args, const Axes&, const Launch&) {
                     run_norm(cpu::rmsnorm_rows,
                              {.eps = args.eps,
                               .weight_offset = args.gemma ? 1.0f : 0.0f,
                               .out_factor = 1 / args.scale},
                              {.input = args.input,
                               .residual = &args.residual,
                               .weight = args.weight,
                               .out = args.out});
                   })
          .backend(
              Backend::kCudaSm80,
              [](const Args& args, const Axes&, const Launch& launch) {
                run_norm_cuda(
                    "fused_add_rmsnorm_quant", NormForm::kAddRms,
                    {.input = args.input, .residual = &args.residual, .weight = args.weight, .out = args.out},
                    {.eps = args.eps,
                     .weight_offset = args.gemma ? 1.0f : 0.0f,
                     .out_factor = 1 / args.scale},
                    launch);
              })
          .build();
  return op;
}

const Operator& layernorm_quant_operator() {
  using Args = LayerNormQuantArgs;
  static const Operator op =
      Declare<Args>("layernorm_quant", "norm_quant", "Layer normalisation of rows, quantised to fp8.")
          .formula(
              "out[i, j] = saturate(((input[i, j] - mean_j(input)) / sqrt(var_j(input) + eps) * gamma[j] + "
              "beta[j]) "
              "/ scale)")
          .source("Ba, Kiros and Hinton, Layer Normalization, 2016; quantised as in FlashInfer")
          .function("strobe::layernorm_quant")
          .axis("num_tokens", 4096, "rows")
          .axis("hidden", 4096, "elements of a row")
          .input<&Args::input>("input", "num_tokens..., hidden", kFloats, "rows to normalise")
          .input<&Args::gamma>("gamma", "hidden", Dtype::kF32, "factor of each column")
          .input<&Args::beta>("beta", "hidden", Dtype::kF32, "added to each column")
          .output<&Args::out>("out", "num_tokens..., hidden", kFp8, "normalised and quantised rows")
          .attribute<&Args::scale>("scale", FLT_MIN, FLT_MAX, kScaleDoc)
          .attribute<&Args::eps>("eps", 0, 1, "added to the variance")
          .cost([](const Args& args, const Axes&) {
            return Cost{.flops = 9 * static_cast<double>(args.input.size()),
                        .bytes = operand_bytes(args.input, args.gamma, args.beta, args.out)};
          })
          .accuracy(op::NormAccuracy{})
          .reference([](const Args& args, const Axes&, op::Expected& expected) {
            reference::layernorm_quant(args, expected);
          })
          .backend(Backend::kCpu,
                   [](const Args& args, const Axes&, const Launch&) {
                     run_norm(
                         cpu::layernorm_rows, {.eps = args.eps, .out_factor = 1 / args.scale},
                         {.input = args.input, .weight = args.gamma, .bias = &args.beta, .out = args.out});
                   })
          .backend(Backend::kCudaSm80,
                   [](const Args& args, const Axes&, const Launch& launch) {
                     run_norm_cuda(
                         "layernorm_quant", NormForm::kLayer,
                         {.input = args.input, .weight = args.gamma, .bias = &args.beta, .out = args.out},
                         {.eps = args.eps, .out_factor = 1 / args.scale}, launch);
                   })
          .build();
  return op;
}

}  // namespace

void rmsnorm_quant(const RmsNormQuantArgs& args, const Launch& launch) {
  op::call(rmsnorm_quant_operator(), args, launch);
}
void fused_add_rmsnorm_quant(const FusedAddRmsNormQuantArgs& args, const Launch& launch) {
  op::call(fused_add_rmsnorm_quant_operator(), args, launch);
}
void layernorm_quant(const LayerNormQuantArgs& args, const Launch& launch) {
  op::call(layernorm_quant_operator(), args, launch);
}

}  // namespace strobe::inline v1

namespace strobe::op {

void declare_norm_quant(Registry& registry) {
  registry.add(rmsnorm_quant_operator());
  registry.add(fused_add_rmsnorm_quant_operator());
  registry.add(layernorm_quant_operator());
}

}  // namespace strobe::op
