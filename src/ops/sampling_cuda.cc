#include "ops/sampling_cuda.h"

#include <bit>

#include "ops/cuda_rows.h"
#include "ops/sampling_call.h"
#include "sampling/sampling_params.h"

namespace strobe::op {
namespace {

using kernel::TokenSource;
using kernel::TokenTask;

// The constants of kernels/sampling/sampling.cuh, in the order of its source.
enum { kInput, kSource, kTask, kVector, kCluster };

constexpr int kThreads = kernel::kSamplingThreads;
constexpr int kSources[] = {static_cast<int>(TokenSource::kProbs), static_cast<int>(TokenSource::kLogits)};
constexpr int kTasks[] = {static_cast<int>(TokenTask::kSample), static_cast<int>(TokenTask::kRenorm),
                          static_cast<int>(TokenTask::kMask)};
constexpr int kVectors[] = {1, 4, 8};
constexpr int kClusters[] = {1, 2, 4, 8};
constexpr std::int64_t kLeastBlockColumns = 2048;  // with fewer the others' help costs more than it brings
constexpr int kSmBlocks = 2;                       // of one-block rows, that the kernel is compiled for
constexpr unsigned kMostListed = 16384;
constexpr int kTokenBytes = 8;      // of a token in a list
constexpr int kLeastListed = 8192;  // rather than two blocks to an SM

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

kernel::SamplingParams params_of(const SamplingCall& call, const SamplingChoice& choice) {
  const TokenFilter& filter = call.filter;
  kernel::SamplingParams params{
      .cut = row_cut(call.input, choice),
      .input_rows = static_cast<std::int32_t>(call.input.shape[0]),
      .joint = filter.joint,
      .top_k = parameter(&filter.top_k_rows, static_cast<std::int32_t>(filter.top_k)),
      .top_p = parameter(&filter.top_p_rows, filter.top_p),
      .min_p = parameter(&filter.min_p_rows, filter.min_p),
      .temperature = parameter(call.temperature_rows, call.temperature)};
  if (call.out != nullptr) {
    params.out = call.out->as<char>();
    params.out_stride = row_pitch(*call.out);
  } else {
    params.samples = call.samples->data;
    params.wide = call.samples->dtype == Dtype::kI64;
    params.valid = call.valid->given() ? call.valid->as<unsigned char>() : nullptr;
    params.indices = call.indices->given() ? call.indices->as<std::int32_t>() : nullptr;
    params.seed = row_number(call.random->seeds, call.random->seed);
    params.offset = row_number(call.random->offsets, call.random->offset);
  }
  return params;
}

// A row over `cluster` blocks.
SamplingChoice cut(const SamplingShape& shape, int cluster, const cuda::ArchitectureFacts& facts) {
  SamplingChoice choice{.vector = shape.vector == widest_vector(shape.dtype) ? shape.vector : 1,
                        .cluster = cluster};
  const int batch_values =
      cluster == 1 && shape.dtype != Dtype::kF32 ? 8 : 16;  // as kBatchValues of the kernels
  const int batch = choice.vector == 1 ? 4 : batch_values / choice.vector;
  const int batch_columns = batch * 32 * choice.vector;
  while (ceil_div(shape.vocab_size, choice.segment_batches * batch_columns) > kernel::kMostSegments)
    choice.segment_batches *= 2;
  choice.segment_columns = choice.segment_batches * batch_columns;
  choice.segments = static_cast<int>(ceil_div(shape.vocab_size, choice.segment_columns));
  const int sm_room =
      facts.shared_bytes_per_sm / (cluster == 1 ? kSmBlocks : 1) - cuda::kKiB - kernel::kSamplingSharedBytes;
  const int room = std::min(facts.shared_bytes_per_block - kernel::kSamplingSharedBytes,
                            std::max(sm_room, kLeastListed * kTokenBytes));
  choice.list_capacity =
      static_cast<int>(std::min(kMostListed, std::bit_floor(static_cast<unsigned>(room / kTokenBytes))));
  choice.shared_bytes = kernel::kSamplingSharedBytes + choice.list_capacity * kTokenBytes;
  return choice;
}

}  // namespace

// Few rows: as many blocks to a row as find enough to do, on an SM each. Else a block to a row.
SamplingChoice choose_sampling(const SamplingShape& shape, cuda::Architecture architecture, int sm_count) {
  const cuda::ArchitectureFacts& facts = cuda::facts(architecture);
  int cluster = facts.has_tma ? kClusters[std::size(kClusters) - 1] : 1;
  while (cluster > 1 && (shape.vocab_size < cluster * kLeastBlockColumns || shape.rows * cluster > sm_count))
    cluster /= 2;
  return cut(shape, cluster, facts);
}

SamplingChoice choose_rows(const SamplingShape& shape, cuda::Architecture architecture, int sm_count,
                           int cluster) {
  const cuda::ArchitectureFacts& facts = cuda::facts(architecture);
  const bool shares =
      facts.has_tma && shape.vocab_size >= cluster * kLeastBlockColumns && shape.rows * cluster <= sm_count;
  return cut(shape, shares ? cluster : 1, facts);
}

kernel::RowNumber row_number(const TensorView& numbers, std::int64_t value) {
  if (!numbers.given()) return {nullptr, value, 0};
  return {numbers.as<std::int64_t>(), 0, numbers.shape[0] > 1};
}

std::int64_t row_pitch(const TensorView& view) {
  return view.strides[0] * static_cast<std::int64_t>(size_of(view.dtype));
}

kernel::RowCut row_cut(const TensorView& input, const SamplingChoice& choice) {
  return {.input = input.as<char>(),
          .input_stride = row_pitch(input),
          .vocab_size = static_cast<std::int32_t>(input.shape[1]),
          .segments = choice.segments,
          .segment_batches = choice.segment_batches,
          .segment_shift = std::countr_zero(static_cast<unsigned>(choice.segment_columns)),
          .list_capacity = choice.list_capacity};
}

void run_sampling_cuda(const SamplingCall& call, const Launch& launch) {
  if (call.rows() == 0) return;
  const Gpu gpu = gpu_of(call.input.device);
  VectorWidth width(widest_vector(call.input.dtype));
  width.extent(call.vocab_size()).rows(call.input);
  if (call.out != nullptr) width.rows(*call.out);
  const SamplingShape shape = {.dtype = call.input.dtype,
                               .rows = call.rows(),
                               .vocab_size = call.vocab_size(),
                               .vector = width.elements()};
  if (call.source == TokenSource::kLogits && call.task == TokenTask::kRenorm &&
      run_softmax_cuda(call, shape, launch))
    return;
  const SamplingChoice choice = choose_sampling(shape, gpu.architecture, gpu.sm_count);
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
