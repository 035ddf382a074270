#include "ops/sampling_cuda.h"

#include "ops/cuda_rows.h"
#include "ops/sampling_call.h"
#include "sampling/sampling_params.h"

namespace strobe::op {
namespace {

using kernel::TokenSource;
using kernel::TokenTask;

// The constants of kernels/sampling/sampling.cuh, in the order of its source.
enum { kInput, kSource, kTask, kVector, kCluster };

constexpr int kThreads = 512, kWarps = kThreads / 32;
constexpr int kSources[] = {static_cast<int>(TokenSource::kProbs), static_cast<int>(TokenSource::kLogits)};
constexpr int kTasks[] = {static_cast<int>(TokenTask::kSample), static_cast<int>(TokenTask::kRenorm),
                          static_cast<int>(TokenTask::kMask)};
constexpr int kVectors[] = {1, 4, 8};
constexpr int kClusters[] = {1, 2, 4, 8};
constexpr std::int64_t kLeastBlockColumns = 2048;  // with fewer the others' help costs more than it brings
constexpr int kSmBlocks = 2;                       // that the kernel is compiled for

std::string print_source(int value) {
  constexpr std::string_view kNames[] = {"kProbs", "kLogits"};
  return fmt::format("strobe::kernel::TokenSource::{}", kNames[value]);
}
std::string print_task(int value) {
  constexpr std::string_view kNames[] = {"kSample", "kRenorm", "kMask"};
  return fmt::format("strobe::kernel::TokenTask::{}", kNames[value]);
}

constexpr jit::Constant kConstants[] = {
    {"kInput", kDtypeType, kFloatDtypes, print_dtype},
    {"kSource", "strobe::kernel::TokenSource", kSources, print_source},
    {"kTask", "strobe::kernel::TokenTask", kTasks, print_task},
    {"kVector", "int", kVectors},
    {"kCluster", "int", kClusters},
};

bool valid(jit::Values values, cuda::Architecture architecture) {
  const bool masks = values[kTask] == static_cast<int>(TokenTask::kMask);
  if (masks && values[kSource] != static_cast<int>(TokenSource::kLogits)) return false;
  if (values[kVector] != 1 && values[kVector] != widest_vector(static_cast<Dtype>(values[kInput])))
    return false;
  return values[kCluster] == 1 || cuda::facts(architecture).has_tma;
}

constexpr jit::KernelSource kSampling = {
    .name = "sampling",
    .header = "sampling/sampling.cuh",
    .types = "sampling/sampling_kind.h",
    .constants = kConstants,
    .valid = valid,
    .launch_facts = [](jit::Values, cuda::Architecture architecture) {
      return jit::LaunchFacts{.threads = kThreads,
                              .shared_bytes = cuda::facts(architecture).shared_bytes_per_block};
    }};

template <class T>
kernel::RowParameter<T> parameter(const TensorView* rows, T value) {
  return {rows != nullptr && rows->given() ? rows->as<T>() : nullptr, value};
}

kernel::RowNumber number(const TensorView& numbers, std::int64_t value) {
  if (!numbers.given()) return {nullptr, value, 0};
  return {numbers.as<std::int64_t>(), 0, numbers.shape[0] > 1};
}

kernel::SamplingParams params_of(const SamplingCall& call, const SamplingChoice& choice) {
  const TokenFilter& filter = call.filter;
  const auto pitch = [](const TensorView& view) {
    return view.strides[0] * static_cast<std::int64_t>(size_of(view.dtype));
  };
  kernel::SamplingParams params{
      .input = call.input.as<char>(),
      .input_stride = pitch(call.input),
      .input_rows = static_cast<std::int32_t>(call.input.shape[0]),
      .vocab_size = static_cast<std::int32_t>(call.vocab_size()),
      .warp_steps = choice.warp_steps,
      .keeps_row = choice.keeps_row,
      .joint = filter.joint,
      .top_k = parameter(&filter.top_k_rows, static_cast<std::int32_t>(filter.top_k)),
      .top_p = parameter(&filter.top_p_rows, filter.top_p),
      .min_p = parameter(&filter.min_p_rows, filter.min_p),
      .temperature = parameter(call.temperature_rows, call.temperature)};
  if (call.out != nullptr) {
    params.out = call.out->as<char>();
    params.out_stride = pitch(*call.out);
  } else {
    params.samples = call.samples->data;
    params.wide = call.samples->dtype == Dtype::kI64;
    params.valid = call.valid->given() ? call.valid->as<unsigned char>() : nullptr;
    params.indices = call.indices->given() ? call.indices->as<std::int32_t>() : nullptr;
    params.seed = number(call.random->seeds, call.random->seed);
    params.offset = number(call.random->offsets, call.random->offset);
  }
  return params;
}

}  // namespace

namespace {

// A row over `cluster` blocks.
SamplingChoice cut(const SamplingShape& shape, int cluster, const cuda::ArchitectureFacts& facts) {
  SamplingChoice choice{.vector = shape.vector == widest_vector(shape.dtype) ? shape.vector : 1,
                        .cluster = cluster};
  const std::int64_t step_columns = std::int64_t{choice.cluster} * kThreads * choice.vector;
  choice.warp_steps = static_cast<int>(ceil_div(shape.vocab_size, step_columns));
  const int vector_bytes = std::max(4, choice.vector * static_cast<int>(size_of(shape.dtype)));
  const std::int64_t row_bytes = std::int64_t{choice.warp_steps} * kThreads * vector_bytes;
  choice.keeps_row = kernel::kSamplingSharedBytes + row_bytes <= facts.shared_bytes_per_block;
  choice.shared_bytes = kernel::kSamplingSharedBytes + (choice.keeps_row ? static_cast<int>(row_bytes) : 0);
  return choice;
}

// Whether an SM holds as many such blocks, with their columns, as the kernel is compiled for.
bool fills_sm(const SamplingChoice& choice, const cuda::ArchitectureFacts& facts) {
  return choice.keeps_row && kSmBlocks * (choice.shared_bytes + cuda::kKiB) <= facts.shared_bytes_per_sm;
}

}  // namespace

// Few rows: as many blocks to a row as find enough to do. More rows than that fills the GPU with: fewer, as
// long as their columns stay in shared memory.
SamplingChoice choose_sampling(const SamplingShape& shape, cuda::Architecture architecture, int sm_count) {
  const cuda::ArchitectureFacts& facts = cuda::facts(architecture);
  int cluster = facts.has_tma ? kClusters[std::size(kClusters) - 1] : 1;
  while (cluster > 1 && shape.vocab_size < cluster * kLeastBlockColumns) cluster /= 2;
  while (cluster > 1 && shape.rows * cluster > kSmBlocks * sm_count &&
         fills_sm(cut(shape, cluster / 2, facts), facts))
    cluster /= 2;
  return cut(shape, cluster, facts);
}

void run_sampling_cuda(const SamplingCall& call, const Launch& launch) {
  if (call.rows() == 0) return;
  const Gpu gpu = gpu_of(call.input.device);
  VectorWidth width(widest_vector(call.input.dtype));
  width.extent(call.vocab_size()).rows(call.input);
  if (call.out != nullptr) width.rows(*call.out);
  const SamplingChoice choice = choose_sampling({.dtype = call.input.dtype,
                                                 .rows = call.rows(),
                                                 .vocab_size = call.vocab_size(),
                                                 .vector = width.elements()},
                                                gpu.architecture, gpu.sm_count);
  if (call.rows() > kMaxRows / choice.cluster)
    fail(ErrorKind::kUnsupported, "{}: {} rows on a GPU, at most {} are possible", call.op_name, call.rows(),
         kMaxRows / choice.cluster);
  const cuda::Kernel& kernel = jit::get(kSampling,
                                        {static_cast<int>(call.input.dtype), static_cast<int>(call.source),
                                         static_cast<int>(call.task), choice.vector, choice.cluster},
                                        gpu.device, launch.stream);
  cuda::launch(kernel,
               {.grid = {.x = static_cast<std::uint32_t>(call.rows() * choice.cluster)},
                .cluster = {.x = static_cast<std::uint32_t>(choice.cluster)},
                .shared_bytes = choice.shared_bytes,
                .pdl = cuda::facts(gpu.architecture).overlaps_launches,
                .stream = launch.stream},
               params_of(call, choice));
}

void declare_sampling_kernels(jit::KernelRegistry& registry) { registry.add(kSampling); }

}  // namespace strobe::op
