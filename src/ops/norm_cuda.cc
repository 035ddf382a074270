#include "ops/norm_cuda.h"

#include <algorithm>

#include "norm/norm_params.h"
#include "ops/cuda_rows.h"

namespace strobe::op {
namespace {

using kernel::NormForm;

// The constants of kernels/norm/norm.cuh, in the order of its source.
enum { kForm, kInput, kOutput, kVector, kItems, kRowThreads, kLong };

constexpr int kForms[] = {static_cast<int>(NormForm::kRms), static_cast<int>(NormForm::kAddRms),
                          static_cast<int>(NormForm::kLayer)};
constexpr int kOutputs[] = {static_cast<int>(Dtype::kF32), static_cast<int>(Dtype::kF16),
                            static_cast<int>(Dtype::kBf16), static_cast<int>(Dtype::kE4m3),
                            static_cast<int>(Dtype::kE5m2)};
constexpr int kVectors[] = {1, 2, 4, 8};
constexpr int kItemCounts[] = {1, 2, 4};
constexpr int kRowThreadCounts[] = {16, 32, 128, 192, 256, 384, 512, 768, 1024};
constexpr int kLongRowThreads = 1024;

std::string print_form(int value) {
  constexpr std::string_view kNames[] = {"kRms", "kAddRms", "kLayer"};
  return fmt::format("strobe::kernel::NormForm::{}", kNames[value]);
}

constexpr jit::Constant kConstants[] = {
    {"kForm", "strobe::kernel::NormForm", kForms, print_form},
    {"kInput", kDtypeType, kFloatDtypes, print_dtype},
    {"kOutput", kDtypeType, kOutputs, print_dtype},
    {"kVector", "int", kVectors},
    {"kItems", "int", kItemCounts},
    {"kRowThreads", "int", kRowThreadCounts},
    {"kLong", "bool", kBools, print_bool},
};

// Vectors that a thread holds of a row: more would not stay in registers beside their weights.
constexpr int most_items(NormForm form) { return form == NormForm::kRms ? 4 : 2; }

NormForm form_of(jit::Values values) { return static_cast<NormForm>(values[kForm]); }

NormChoice choice_of(jit::Values values) {
  return {.vector = values[kVector],
          .items = values[kItems],
          .row_threads = values[kRowThreads],
          .long_rows = values[kLong] != 0};
}

bool valid(jit::Values values, cuda::Architecture) {
  const NormChoice choice = choice_of(values);
  const int vector_bytes = choice.vector * static_cast<int>(size_of(static_cast<Dtype>(values[kInput])));
  const bool quantises = values[kOutput] >= static_cast<int>(Dtype::kE4m3);
  if (!quantises && values[kOutput] != values[kInput]) return false;
  const int most = most_items(form_of(values));
  if (vector_bytes > 16 || choice.items > most) return false;
  return !choice.long_rows || (choice.row_threads == kLongRowThreads && choice.items == most);
}

jit::LaunchFacts launch_facts(jit::Values values, cuda::Architecture) {
  return {.threads = choice_of(values).threads()};
}

constexpr jit::KernelSource kNorm = {.name = "norm",
                                     .header = "norm/norm.cuh",
                                     .types = "norm/norm_form.h",
                                     .constants = kConstants,
                                     .valid = valid,
                                     .launch_facts = launch_facts};

// The fewest threads that hold a row of so many vectors; 0 when none do.
int threads_for(std::int64_t vectors, int items) {
  for (int threads : kRowThreadCounts)
    if (static_cast<std::int64_t>(threads) * items >= vectors) return threads;
  return 0;
}

}  // namespace

// Few rows: a thread has as few vectors as possible, since the time is that of one load after the other.
// Many: two loads, which the kernel's note explains.
NormChoice choose_norm(const NormShape& shape, int sm_count) {
  constexpr int kPreferredThreads = 512;
  const std::int64_t vectors = ceil_div(shape.hidden, shape.vector);
  const int most = most_items(shape.form);
  NormChoice choice{.vector = shape.vector};
  if (threads_for(vectors, most) == 0) {
    choice.items = most;
    choice.row_threads = kLongRowThreads;
    choice.long_rows = true;
    choice.blocks = shape.rows;
    return choice;
  }
  choice.few_rows = shape.rows <= 2 * sm_count;
  choice.items = 2;
  if (choice.few_rows || shape.form == NormForm::kAddRms)
    choice.items = 1;
  else if (shape.form == NormForm::kRms && shape.out_bytes == 1)
    choice.items = 4;
  while (choice.items < most &&
         (threads_for(vectors, choice.items) == 0 ||
          (!choice.few_rows && threads_for(vectors, choice.items) > kPreferredThreads)))
    choice.items *= 2;
  while (choice.items > 1 && threads_for(vectors, choice.items / 2) == kRowThreadCounts[0]) choice.items /= 2;
  choice.row_threads = threads_for(vectors, choice.items);
  choice.blocks = ceil_div(shape.rows, choice.block_rows());
  return choice;
}

void run_norm_cuda(std::string_view op_name, NormForm form, const NormCudaOperands& operands,
                   const NormFactors& factors, const Launch& launch) {
  const TensorView &input = operands.input, &out = operands.out, &weight = operands.weight;
  const TensorView& residual = operands.residual != nullptr ? *operands.residual : input;
  const TensorView& bias = operands.bias != nullptr ? *operands.bias : weight;
  const std::int64_t hidden = weight.shape[0];
  if (hidden == 0) return;
  if (hidden > kMaxRows)
    fail(ErrorKind::kUnsupported, "{}: rows of {} elements on a GPU, at most {} are possible", op_name,
         hidden, kMaxRows);
  const Gpu gpu = gpu_of(input.device);
  VectorWidth width(widest_vector(input.dtype));
  width.extent(hidden)
      .rows(input)
      .rows(residual)
      .rows(out)
      .address(weight.data, weight.dtype)
      .address(bias.data, bias.dtype);
  for_each_plane(
      op_name,
      [&](const RowPlane<3>& plane) {
        const NormChoice choice = choose_norm({.form = form,
                                               .rows = plane.rows,
                                               .hidden = hidden,
                                               .vector = width.elements(),
                                               .out_bytes = static_cast<int>(size_of(out.dtype))},
                                              gpu.sm_count);
        const kernel::NormParams params{.input = plane.operands[0],
                                        .residual = plane.operands[1],
                                        .out = plane.operands[2],
                                        .weight = weight.as<char>(),
                                        .bias = bias.as<char>(),
                                        .rows = plane.rows,
                                        .inner_rows = plane.inner_rows,
                                        .hidden = static_cast<std::int32_t>(hidden),
                                        .inverse_hidden = 1 / static_cast<float>(hidden),
                                        .eps = factors.eps,
                                        .weight_offset = factors.weight_offset,
                                        .out_factor = factors.out_factor,
                                        .prefetches = choice.few_rows};
        launch_kernel(kNorm,
                      {static_cast<int>(form), static_cast<int>(input.dtype), static_cast<int>(out.dtype),
                       choice.vector, choice.items, choice.row_threads, choice.long_rows},
                      gpu, choice.blocks, params, launch);
      },
      input, residual, out);
}

void declare_norm_kernels(jit::KernelRegistry& registry) { registry.add(kNorm); }

}  // namespace strobe::op
