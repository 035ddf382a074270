#include "strobe/norm.h"

#include "cpu/norm_kernel.h"
#include "cpu/parallel.h"
#include "op/call.h"
#include "op/declare.h"
#include "ops/row_views.h"
#include "reference/norm.h"

namespace strobe {
namespace {

using op::Accuracy;
using op::Axes;
using op::Cost;
using op::Declare;
using op::kFloats;
using op::Operator;
using op::same_as;

constexpr int kHidden = 1;  // axis number in these declarations; 0 is num_tokens

void rmsnorm_cpu(const RmsNormArgs& args, const Axes& axes, const Launch&) {
  const op::RowBlocks blocks(args.input, args.out);
  const auto bytes = static_cast<std::int64_t>(size_of(args.input.dtype));
  cpu::RmsNormRows rows{.input = nullptr, .weight = args.weight.data, .out = nullptr,
                        .input_stride = blocks.stride(0), .out_stride = blocks.stride(1), .hidden = axes[kHidden],
                        .dtype = args.input.dtype, .eps = args.eps, .weight_offset = args.gemma ? 1.0f : 0.0f,
                        .stream = args.out.data != args.input.data && cpu::writes_past_caches(args.out.bytes())};
  auto* kernel = *cpu::rmsnorm_rows;
  blocks.for_each([&](void* input, void* out) {
    rows.input = input;
    rows.out = out;
    cpu::parallel_ranges(blocks.rows(), 2 * rows.hidden * bytes,
                         [&](std::int64_t begin, std::int64_t end) { kernel(rows, begin, end); });
  });
}

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
          .cost([](const RmsNormArgs& args, const Axes& axes) {
            const double elements = static_cast<double>(args.input.size());
            const double bytes = static_cast<double>(size_of(args.input.dtype));
            return Cost{.flops = 4 * elements, .bytes = (2 * elements + static_cast<double>(axes[kHidden])) * bytes};
          })
          .accuracy([](const RmsNormArgs&, const Axes& axes, int) { return Accuracy{.reduction = axes[kHidden]}; })
          .reference([](const RmsNormArgs& args, const Axes&, op::Expected& expected) {
            reference::rmsnorm(args, expected);
          })
          .backend(Backend::kCpu, [](const RmsNormArgs& args, const Axes& axes, const Launch& launch) {
            rmsnorm_cpu(args, axes, launch);
          })
          .build();
  return op;
}

}  // namespace

void rmsnorm(const RmsNormArgs& args, const Launch& launch) { op::call(rmsnorm_operator(), args, launch); }

namespace op {

void declare_norm(Registry& registry) { registry.add(rmsnorm_operator()); }

}  // namespace op
}  // namespace strobe
