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
constexpr int kVectors[] = {1, 4, 8};
constexpr int kItemCounts[] = {1, 2, 4};
constexpr int kRowThreadCounts[] = {16, 32, 128, 192, 256, 384, 512, 768, 1024};
constexpr int kAnyRowThreads[] = {32, 256, 1024};  // of rows that are read element by element

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

// Of rows that are read more than once: their vectors in a chunk, and their threads, where there are few rows
// and where there are many.
constexpr int long_items(NormForm form) { return form == NormForm::kAddRms ? 2 : 4; }
constexpr int kFewLongRowThreads = 1024;
constexpr int long_row_threads(NormForm form) { return kFewLongRowThreads / long_items(form); }

NormForm form_of(jit::Values values) { return static_cast<NormForm>(values[kForm]); }

NormChoice choice_of(jit::Values values) {
  return {.vector = values[kVector],
          .items = values[kItems],
          .row_threads = values[kRowThreads],
          .long_rows = values[kLong] != 0};
}

bool valid(jit::Values values, cuda::Architecture) {
  const NormChoice choice = choice_of(values);
  const auto input = static_cast<Dtype>(values[kInput]);
  const bool quantises = values[kOutput] >= static_cast<int>(Dtype::kE4m3);
  if (!quantises && values[kOutput] != values[kInput]) return false;
  if (choice.vector != 1 && choice.vector != widest_vector(input)) return false;
  const NormForm form = form_of(values);
  if (choice.long_rows)
    return choice.items == long_items(form) &&
           (choice.row_threads == kFewLongRowThreads ||
            (choice.vector > 1 && choice.row_threads == long_row_threads(form)));
  if (choice.items > most_items(form)) return false;
  return choice.vector > 1 ||
         (choice.items == most_items(form) && std::ranges::count(kAnyRowThreads, choice.row_threads) == 1);
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
template <std::size_t kCount>
int threads_for(const int (&thread_counts)[kCount], std::int64_t vectors, int items) {
  for (int threads : thread_counts)
    if (static_cast<std::int64_t>(threads) * items >= vectors) return threads;
  return 0;
}

// Vectors that a thread has of a row that stays in registers; 0 when it cannot. Few rows: as few as possible,
// since the time is that of one load after the other. Many: as the kernel's note says; but where the result
// is half as long, more loads, or more threads, are under way at a time.
int items_for(const NormShape& shape, std::int64_t vectors, bool few_rows) {
  const bool narrows = shape.out_bytes == 1, adds = shape.form == NormForm::kAddRms;
  const int preferred_threads = few_rows || (adds && narrows) ? kFewLongRowThreads : 512;
  const int most = most_items(shape.form);
  const auto threads = [&](int items) { return threads_for(kRowThreadCounts, vectors, items); };
  if (threads(most) == 0) return 0;
  int items = few_rows || adds ? 1 : narrows ? most : 2;
  while (items < most && (threads(items) == 0 || threads(items) > preferred_threads)) items *= 2;
  while (items > 1 && threads(items / 2) == kRowThreadCounts[0]) items /= 2;
  return items;
}

}  // namespace

NormChoice choose_norm(const NormShape& shape, int sm_count) {
  constexpr std::int64_t kVectorsReadTwice = 1024;  // 16 KiB
  const std::int64_t vectors = ceil_div(shape.hidden, shape.vector);
  NormChoice choice{.vector = shape.vector, .few_rows = shape.rows <= 2 * sm_count};
  if (shape.vector == 1) {
    choice.items = most_items(shape.form);
    choice.row_threads = threads_for(kAnyRowThreads, vectors, choice.items);
  } else if (choice.few_rows || shape.out_bytes == 1 || vectors < kVectorsReadTwice) {
    choice.items = items_for(shape, vectors, choice.few_rows);
    choice.row_threads = choice.items > 0 ? threads_for(kRowThreadCounts, vectors, choice.items) : 0;
  } else {
    choice.row_threads = 0;
  }
  if (choice.row_threads == 0) {
    choice.long_rows = true;
    choice.items = long_items(shape.form);
    choice.row_threads =
        choice.few_rows || shape.vector == 1 ? kFewLongRowThreads : long_row_threads(shape.form);
  }
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
                                               .vector = width.all_or_one(),
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
