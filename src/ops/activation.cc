#include "strobe/activation.h"

#include "cpu/activation_kernel.h"
#include "cpu/parallel.h"
#include "op/call.h"
#include "op/declare.h"
#include "ops/activation_cuda.h"
#include "ops/operand_bytes.h"
#include "ops/row_views.h"
#include "reference/activation.h"

namespace strobe::inline v1 {
namespace {

using op::Axes;
using op::Operator;

constexpr int kHidden = 1;  // axis number in these declarations; 0 is num_tokens

using RowKernel = cpu::PerIsa<void(const cpu::ActivationRows&, std::int64_t, std::int64_t)>;

void run_rows(const RowKernel& kernel, const ActivationArgs& args, const Axes& axes) {
  const op::RowBlocks blocks(args.input, args.out);
  const cpu::ActivationRows rows{.input = nullptr,
                                 .out = nullptr,
                                 .input_stride = blocks.stride(0),
                                 .out_stride = blocks.stride(1),
                                 .hidden = axes[kHidden],
                                 .dtype = args.input.dtype,
                                 .stream = cpu::writes_past_caches(args.out.bytes())};
  auto* run = *kernel;
  blocks.parallel(3 * rows.hidden * static_cast<std::int64_t>(size_of(rows.dtype)),
                  [&](std::int64_t begin, std::int64_t end, void* input, void* out) {
                    cpu::ActivationRows block = rows;
                    block.input = input;
                    block.out = out;
                    run(block, begin, end);
                  });
}

// The three differ in names, the reference of f, the kernels and the operations of f.
struct Silu {
  static constexpr char kName[] = "silu_and_mul", kFormula[] = "x / (1 + exp(-x))";
  static constexpr char kSource[] = "Shazeer, GLU Variants Improve Transformer, 2020";
  static constexpr const RowKernel& kKernel = cpu::silu_and_mul_rows;
  static constexpr auto kReference = reference::silu;
  static constexpr auto kCuda = kernel::ActivationFunction::kSilu;
  static constexpr double kFlops = 4;
};
struct Gelu {
  static constexpr char kName[] = "gelu_and_mul", kFormula[] = "x / 2 * (1 + erf(x / sqrt(2)))";
  static constexpr char kSource[] = "Hendrycks and Gimpel, Gaussian Error Linear Units, 2016";
  static constexpr const RowKernel& kKernel = cpu::gelu_and_mul_rows;
  static constexpr auto kReference = reference::gelu;
  static constexpr auto kCuda = kernel::ActivationFunction::kGelu;
  static constexpr double kFlops = 5;
};
struct GeluTanh {
  static constexpr char kName[] = "gelu_tanh_and_mul";
  static constexpr char kFormula[] = "x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))";
  static constexpr char kSource[] = "Hendrycks and Gimpel, Gaussian Error Linear Units, 2016";
  static constexpr const RowKernel& kKernel = cpu::gelu_tanh_and_mul_rows;
  static constexpr auto kReference = reference::gelu_tanh;
  static constexpr auto kCuda = kernel::ActivationFunction::kGeluTanh;
  static constexpr double kFlops = 9;
};

template <class Function>
const Operator& activation_operator() {
  using Args = ActivationArgs;
  const std::string name = Function::kName;
  const std::string function = name.substr(0, name.find("_and_mul"));
  static const Operator op =
      op::Declare<Args>(name, "activation",
                        function + " of the first half of each row, times the second half.")
          .formula("out[i, j] = f(input[i, j]) * input[i, hidden + j], f(x) = " +
                   std::string(Function::kFormula))
          .source(Function::kSource)
          .function("strobe::" + name)
          .axis("num_tokens", 1024, "rows")
          .axis("hidden", 14336, "elements of an output row: the intermediate size of the MLP")
          .template input<&Args::input>("input", "num_tokens..., 2*hidden", op::kFloats,
                                        "rows of what is activated, then of the factors")
          .template output<&Args::out>("out", "num_tokens..., hidden", op::same_as("input"), "the products")
          .cost([](const Args& args, const Axes&) {
            return op::Cost{.flops = (Function::kFlops + 1) * static_cast<double>(args.out.size()),
                            .bytes = op::operand_bytes(args.input, args.out)};
          })
          .accuracy([](const Args&, const Axes&, int) { return op::Accuracy{}; })
          .reference([](const Args& args, const Axes&, op::Expected& expected) {
            reference::gated(args, Function::kReference, expected);
          })
          .backend(Backend::kCpu, [](const Args& args, const Axes& axes,
                                     const Launch&) { run_rows(Function::kKernel, args, axes); })
          .backend(Backend::kCudaSm80,
                   [](const Args& args, const Axes&, const Launch& launch) {
                     op::run_activation_cuda(Function::kCuda, args, launch);
                   })
          .build();
  return op;
}

}  // namespace

void silu_and_mul(const ActivationArgs& args, const Launch& launch) {
  op::call(activation_operator<Silu>(), args, launch);
}
void gelu_and_mul(const ActivationArgs& args, const Launch& launch) {
  op::call(activation_operator<Gelu>(), args, launch);
}
void gelu_tanh_and_mul(const ActivationArgs& args, const Launch& launch) {
  op::call(activation_operator<GeluTanh>(), args, launch);
}

}  // namespace strobe::inline v1

namespace strobe::op {

void declare_activation(Registry& registry) {
  registry.add(activation_operator<Silu>());
  registry.add(activation_operator<Gelu>());
  registry.add(activation_operator<GeluTanh>());
}

}  // namespace strobe::op
