#include "strobe/norm.h"

#include "op/call.h"
#include "op/declare.h"
#include "ops/norm_cpu.h"
#include "ops/norm_cuda.h"
#include "ops/operand_bytes.h"
#include "reference/norm.h"

namespace strobe::inline v1 {
namespace {

using kernel::NormForm;
using op::Axes;
using op::Cost;
using op::Declare;
using op::kFloats;
using op::operand_bytes;
using op::Operator;
using op::run_norm;
using op::run_norm_cuda;
using op::same_as;

const Operator& rmsnorm_operator() {
  static const Operator op =
      Declare<RmsNormArgs>("rmsnorm", "norm", "Root-mean-square normalisation of rows.")
          .formula("out[i, j] = input[i, j] / sqrt(mean_j(input[i, j]^2) + eps) * (weight[j] + gemma)")
          .source("Zhang and Sennrich, Root Mean Square Layer Normalization, 2019")
          .function("strobe::rmsnorm")
          .axis("num_tokens", 4096, "rows")
          .axis("hidden", 4096, "elements of a row")
          .input<&RmsNormArgs::input>("input", "num_tokens..., hidden", kFloats, "rows to normalise")
          .input<&RmsNormArgs::weight>("weight", "hidden", same_as("input"), "factor of each column")
          .output<&RmsNormArgs::out>("out", "num_tokens..., hidden", same_as("input"), "normalised rows")
          .may_alias("input")
          .attribute<&RmsNormArgs::eps>("eps", 0, 1, "added to the mean square")
          .attribute<&RmsNormArgs::gemma>("gemma", "multiply by 1 + weight")
          .cost([](const RmsNormArgs& args, const Axes&) {
            return Cost{.flops = 4 * static_cast<double>(args.input.size()),
                        .bytes = operand_bytes(args.input, args.weight, args.out)};
          })
          .accuracy(op::NormAccuracy{})
          .reference([](const RmsNormArgs& args, const Axes&, op::Expected& expected) {
            reference::rmsnorm(args, expected);
          })
          .backend(Backend::kCpu,
                   [](const RmsNormArgs& args, const Axes&, const Launch&) {
                     run_norm(cpu::rmsnorm_rows, {.eps = args.eps, .weight_offset = args.gemma ? 1.0f : 0.0f},
                              {.input = args.input, .weight = args.weight, .out = args.out});
                   })
          .backend(Backend::kCudaSm80,
                   [](const RmsNormArgs& args, const Axes&, const Launch& launch) {
                     run_norm_cuda("rmsnorm", NormForm::kRms,
                                   {.input = args.input, .weight = args.weight, .out = args.out},
                                   {.eps = args.eps, .weight_offset = args.gemma ? 1.0f : 0.0f}, launch);
                   })
          .build();
  return op;
}

const Operator& fused_add_rmsnorm_operator() {
  using Args = FusedAddRmsNormArgs;
  static const Operator op =
      Declare<Args>("fused_add_rmsnorm", "norm",
                    "Adds input to the residual and normalises the sum, in place.")
          .formula(
              "x = input + residual; residual = x; "
              "input[i, j] = x[i, j] / sqrt(mean_j(x[i, j]^2) + eps) * (weight[j] + gemma)")
          .source("Zhang and Sennrich, Root Mean Square Layer Normalization, 2019; fused as in FlashInfer")
          .function("strobe::fused_add_rmsnorm")
          .axis("num_tokens", 4096, "rows")
          .axis("hidden", 4096, "elements of a row")
          .inout<&Args::input>("input", "num_tokens..., hidden", kFloats,
                               "rows to add; receives the normalised sum")
          .inout<&Args::residual>("residual", "num_tokens..., hidden", same_as("input"),
                                  "receives the sum, rounded")
          .input<&Args::weight>("weight", "hidden", same_as("input"), "factor of each column")
          .attribute<&Args::eps>("eps", 0, 1, "added to the mean square")
          .attribute<&Args::gemma>("gemma", "multiply by 1 + weight")
          .cost([](const Args& args, const Axes&) {
            return Cost{
                .flops = 5 * static_cast<double>(args.input.size()),
                .bytes = operand_bytes(args.input, args.input, args.residual, args.residual, args.weight)};
          })
          .accuracy(op::FusedNormAccuracy{})
          .reference([](const Args& args, const Axes&, op::Expected& expected) {
            reference::fused_add_rmsnorm(args, expected);
          })
          .backend(Backend::kCpu,
                   [](const Args& args, const Axes&, const Launch&) {
                     run_norm(cpu::rmsnorm_rows, {.eps = args.eps, .weight_offset = args.gemma ? 1.0f : 0.0f},
                              {.input = args.input,
                               .residual = &args.residual,
                               .weight = args.weight,
                               .out = args.input});
                   })
          .backend(Backend::kCudaSm80,
                   [](const Args& args, const Axes&, const Launch& launch) {
                     run_norm_cuda("fused_add_rmsnorm", NormForm::kAddRms,
                                   {.input = args.input,
                                    .residual = &args.residual,
                                    .weight = args.weight,
                                    .out = args.input},
                                   {.eps = args.eps, .weight_offset = args.gemma ? 1.0f : 0.0f}, launch);
                   })
          .build();
  return op;
}

const Operator& layernorm_operator() {
  using Args = LayerNormArgs;
  static const Operator op =
      Declare<Args>("layernorm", "norm", "Layer normalisation of rows.")
          .formula(
              "out[i, j] = (input[i, j] - mean_j(input)) / sqrt(var_j(input) + eps) * gamma[j] + beta[j]")
          .source("Ba, Kiros and Hinton, Layer Normalization, 2016")
          .function("strobe::layernorm")
          .axis("num_tokens", 4096, "rows")
          .axis("hidden", 4096, "elements of a row")
          .input<&Args::input>("input", "num_tokens..., hidden", kFloats, "rows to normalise")
          .input<&Args::gamma>("gamma", "hidden", Dtype::kF32, "factor of each column")
          .input<&Args::beta>("beta", "hidden", Dtype::kF32, "added to each column")
          .output<&Args::out>("out", "num_tokens..., hidden", same_as("input"), "normalised rows")
          .may_alias("input")
          .attribute<&Args::eps>("eps", 0, 1, "added to the variance")
          .cost([](const Args& args, const Axes&) {
            return Cost{.flops = 8 * static_cast<double>(args.input.size()),
                        .bytes = operand_bytes(args.input, args.gamma, args.beta, args.out)};
          })
          .accuracy(op::NormAccuracy{})
          .reference([](const Args& args, const Axes&, op::Expected& expected) {
            reference::layernorm(args, expected);
          })
          .backend(Backend::kCpu,
                   [](const Args& args, const Axes&, const Launch&) {
                     run_norm(
                         cpu::layernorm_rows, {.eps = args.eps},
                         {.input = args.input, .weight = args.gamma, .bias = &args.beta, .out = args.out});
                   })
          .backend(Backend::kCudaSm80,
                   [](const Args& args, const Axes&, const Launch& launch) {
                     run_norm_cuda(
                         "layernorm", NormForm::kLayer,
                         {.input = args.input, .weight = args.gamma, .bias = &args.beta, .out = args.out},
                         {.eps = args.eps}, launch);
                   })
          .build();
  return op;
}

}  // namespace

void rmsnorm(const RmsNormArgs& args, const Launch& launch) { op::call(rmsnorm_operator(), args, launch); }
void fused_add_rmsnorm(const FusedAddRmsNormArgs& args, const Launch& launch) {
  op::call(fused_add_rmsnorm_operator(), args, launch);
}
void layernorm(const LayerNormArgs& args, const Launch& launch) {
  op::call(layernorm_operator(), args, launch);
}

}  // namespace strobe::inline v1

namespace strobe::op {

void declare_norm(Registry& registry) {
  registry.add(rmsnorm_operator());
  registry.add(fused_add_rmsnorm_operator());
  registry.add(layernorm_operator());
}

}  // namespace strobe::op
