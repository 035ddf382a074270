#include <algorithm>

#include "ops/cuda_rows.h"
#include "ops/sampling_call.h"
#include "ops/sampling_cuda.h"
#include "sampling/softmax_params.h"

namespace strobe::op {
namespace {

// The constants of kernels/sampling/softmax.cuh, in the order of its source.
enum { kInput, kVector, kSteps, kCluster };

constexpr int kThreads = kernel::kSamplingThreads;
constexpr int kSmBlocks = 2;                // that the kernel is compiled for
constexpr int kValues[] = {8, 16, 32, 40};  // of a thread
constexpr int kVectors[] = {4, 8};
constexpr int kStepCounts[] = {1, 2, 4, 5, 8, 10};
constexpr int kClusters[] = {1, 2, 4, 8};

constexpr jit::Constant kConstants[] = {
    {"kInput", kDtypeType, kFloatDtypes, print_dtype},
    {"kVector", "int", kVectors},
    {"kSteps", "int", kStepCounts},
    {"kCluster", "int", kClusters},
};

// More than 32 spill elsewhere.
int most_values(Dtype dtype, int cluster, cuda::Architecture architecture) {
  const bool holds_more = architecture == cuda::Architecture::kSm90a && (dtype == Dtype::kF32 || cluster > 1);
  return holds_more ? 40 : 32;
}

bool valid(jit::Values values, cuda::Architecture architecture) {
  const cuda::ArchitectureFacts& facts = cuda::facts(architecture);
  const int thread_values = values[kSteps] * values[kVector];
  return values[kVector] == widest_vector(static_cast<Dtype>(values[kInput])) &&
         std::find(std::begin(kValues), std::end(kValues), thread_values) != std::end(kValues) &&
         thread_values <= most_values(static_cast<Dtype>(values[kInput]), values[kCluster], architecture) &&
         (values[kCluster] == 1 || facts.has_tma);
}

constexpr jit::KernelSource kSoftmax = {
    .name = "softmax",
    .header = "sampling/softmax.cuh",
    .types = "tile/dtype.h",
    .constants = kConstants,
    .valid = valid,
    .launch_facts = [](jit::Values, cuda::Architecture) {
      return jit::LaunchFacts{.threads = kThreads, .shared_bytes = kernel::kSoftmaxSharedBytes};
    }};

}  // namespace

SoftmaxChoice choose_softmax(const SamplingShape& shape, cuda::Architecture architecture, int sm_count) {
  const cuda::ArchitectureFacts& facts = cuda::facts(architecture);
  const auto most = [&](int cluster) { return most_values(shape.dtype, cluster, architecture); };
  const auto holds = [&](int cluster, int values) {
    return shape.vocab_size <= std::int64_t{cluster} * kThreads * values;
  };
  SoftmaxChoice choice{.cluster = facts.has_tma ? 8 : 1};
  if (shape.vector != widest_vector(shape.dtype) || !holds(choice.cluster, most(choice.cluster))) return {};
  while (choice.cluster > 1 && shape.rows * choice.cluster > kSmBlocks * sm_count &&
         holds(choice.cluster / 2, most(choice.cluster / 2)))
    choice.cluster /= 2;
  while (choice.cluster > 1 && holds(choice.cluster / 2, kValues[0])) choice.cluster /= 2;
  for (int values : kValues)
    if (choice.steps == 0 && values <= most(choice.cluster) && holds(choice.cluster, values))
      choice.steps = values / shape.vector;
  return choice;
}

bool run_softmax_cuda(const SamplingCall& call, const SamplingShape& shape, const Launch& launch) {
  const Gpu gpu = gpu_of(call.input.device);
  const SoftmaxChoice choice = choose_softmax(shape, gpu.architecture, gpu.sm_count);
  if (choice.steps == 0 || call.rows() > kMaxRows / choice.cluster) return false;
  const cuda::Kernel& kernel =
      jit::get(kSoftmax, {static_cast<int>(shape.dtype), shape.vector, choice.steps, choice.cluster},
               gpu.device, launch.stream);
  const bool per_row = call.temperature_rows->given();
  cuda::launch(kernel,
               {.grid = {.x = static_cast<std::uint32_t>(call.rows() * choice.cluster)},
                .cluster = {.x = static_cast<std::uint32_t>(choice.cluster)},
                .shared_bytes = kernel::kSoftmaxSharedBytes,
                .pdl = cuda::facts(gpu.architecture).overlaps_launches,
                .stream = launch.stream},
               kernel::SoftmaxParams{.input = call.input.as<char>(),
                                     .out = call.out->as<char>(),
                                     .input_stride = row_pitch(call.input),
                                     .out_stride = row_pitch(*call.out),
                                     .vocab_size = static_cast<std::int32_t>(call.vocab_size()),
                                     .temperature = {per_row ? call.temperature_rows->as<float>() : nullptr,
                                                     call.temperature}});
  return true;
}

void declare_softmax_kernels(jit::KernelRegistry& registry) { registry.add(kSoftmax); }

}  // namespace strobe::op
