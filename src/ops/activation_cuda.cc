#include "ops/activation_cuda.h"

#include <algorithm>

#include "activation/activation_params.h"
#include "ops/cuda_rows.h"

namespace strobe::op {
namespace {

using kernel::ActivationFunction;

constexpr int kThreads = 256;  // of kernels/activation/activation.cuh
constexpr int kFunctions[] = {static_cast<int>(ActivationFunction::kSilu),
                              static_cast<int>(ActivationFunction::kGelu),
                              static_cast<int>(ActivationFunction::kGeluTanh)};
constexpr int kVectors[] = {1, 2, 4, 8};

std::string print_function(int value) {
  constexpr std::string_view kNames[] = {"kSilu", "kGelu", "kGeluTanh"};
  return fmt::format("strobe::kernel::ActivationFunction::{}", kNames[value]);
}

constexpr jit::Constant kConstants[] = {
    {"kFunction", "strobe::kernel::ActivationFunction", kFunctions, print_function},
    {"kType", kDtypeType, kFloatDtypes, print_dtype},
    {"kVector", "int", kVectors},
};

constexpr jit::KernelSource kGated = {
    .name = "gated",
    .header = "activation/activation.cuh",
    .types = "activation/activation_function.h",
    .constants = kConstants,
    .valid = [](jit::Values values,
                cuda::Architecture) { return values[2] <= widest_vector(static_cast<Dtype>(values[1])); },
    .launch_facts = [](jit::Values, cuda::Architecture) { return jit::LaunchFacts{.threads = kThreads}; }};

}  // namespace

void run_activation_cuda(ActivationFunction function, const ActivationArgs& args, const Launch& launch) {
  const std::int64_t hidden = args.out.shape[static_cast<std::size_t>(args.out.rank - 1)];
  if (hidden == 0) return;
  const Gpu gpu = gpu_of(args.input.device);
  const int vector =
      VectorWidth(widest_vector(args.input.dtype)).extent(hidden).rows(args.input).rows(args.out).elements();
  const std::int64_t row_vectors = hidden / vector;
  if (row_vectors > kMaxRows)
    fail(ErrorKind::kUnsupported, "gated activation: rows of {} elements on a GPU, at most {} are possible",
         hidden, kMaxRows * vector);
  const auto run_plane = [&](const RowPlane<2>& plane) {
    // So many rows at a time that their vectors can be numbered in 31 bits.
    const std::int64_t most_rows = std::max<std::int64_t>(1, kMaxRows / row_vectors);
    for (std::int64_t first = 0; first < plane.rows; first += most_rows) {
      const std::int64_t vectors = std::min<std::int64_t>(most_rows, plane.rows - first) * row_vectors;
      const kernel::GatedParams params{
          .input = plane.operands[0],
          .out = plane.operands[1],
          .first_row = static_cast<std::uint32_t>(first),
          .vectors = static_cast<std::uint32_t>(vectors),
          .row_vectors = divisor(row_vectors),
          .inner_rows = plane.inner_rows,
          .second_half = hidden * static_cast<std::int64_t>(size_of(args.input.dtype)),
          .prefetches = runs_at_once(ceil_div(vectors, kThreads), kThreads, gpu)};
      launch_kernel(kGated, {static_cast<int>(function), static_cast<int>(args.input.dtype), vector}, gpu,
                    ceil_div(vectors, kThreads), params, launch);
    }
  };
  for_each_plane("gated activation", run_plane, args.input, args.out);
}

void declare_activation_kernels(jit::KernelRegistry& registry) { registry.add(kGated); }

}  // namespace strobe::op
