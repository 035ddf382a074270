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

constexpr int kThreads = kernel::kSamplingThreads, kWarps = kThreads / 32;
constexpr int kSources[] = {static_cast<int>(TokenSource::kProbs), static_cast<int>(TokenSource::kLogits)};
constexpr int kTasks[] = {static_cast<int>(TokenTask::kSample), static_cast<int>(TokenTask::kRenorm),
                          static_cast<int>(TokenTask::kMask)};
constexpr int kVectors[] = {1, 4, 8};
constexpr int kClusters[] = {1, 2, 4, 8};
constexpr std::int64_t kLeastBlockColumns = 2048;  // with fewer the others' help costs more than it brings
constexpr int kSmBlocks = 2;                       // that the kernel is compiled for
constexpr int kMostListed = 10240;                 // two such lists fit in an SM of 228 KiB
constexpr int kTokenBytes = 8;                     // of a token in a list
constexpr int kMostBatches = 4;                    // of a segment, where they are not needed for longer rows
constexpr int kSegmentsAhead = 2;                  // that a warp brings to L2 before it needs them,
constexpr std::int64_t kL2Bytes = 40 * cuda::kKiB * cuda::kKiB;  // or all, where all rows have room there

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
      .segments = choice.segments,
      .segment_batches = choice.segment_batches,
      .segment_shift = std::countr_zero(static_cast<unsigned>(choice.segment_columns)),
      .segments_ahead = choice.segments_ahead,
      .keeps_row = choice.keeps_row,
      .list_capacity = choice.list_capacity,
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
  const int batch = choice.vector == 1 ? 4 : 8 / choice.vector;  // as kBatch of columns.cuh
  const int batch_columns = batch * 32 * choice.vector;
  while (ceil_div(shape.vocab_size, choice.segment_batches * batch_columns) > kernel::kMostSegments)
    choice.segment_batches *= 2;
  // Longer segments cost less; each warp is to have one.
  while (choice.segment_batches < kMostBatches &&
         shape.vocab_size >= std::int64_t{2} * choice.segment_batches * batch_columns * cluster * kWarps)
    choice.segment_batches *= 2;
  choice.segment_columns = choice.segment_batches * batch_columns;
  choice.segments = static_cast<int>(ceil_div(shape.vocab_size, choice.segment_columns));
  const std::int64_t warp_segments = ceil_div(choice.segments, std::int64_t{cluster} * kWarps);
  const bool fits_l2 =
      shape.rows * shape.vocab_size * static_cast<std::int64_t>(size_of(shape.dtype)) <= kL2Bytes;
  choice.segments_ahead = fits_l2 ? static_cast<int>(warp_segments) : kSegmentsAhead;
  const int vector_bytes = std::max(4, choice.vector * static_cast<int>(size_of(shape.dtype)));
  const std::int64_t row_bytes = warp_segments * choice.segment_batches * batch * kThreads * vector_bytes;
  const int room =
      std::min(facts.shared_bytes_per_block, facts.shared_bytes_per_sm / kSmBlocks - cuda::kKiB) -
      kernel::kSamplingSharedBytes;
  choice.keeps_row = shape.keeps && kernel::kSamplingSharedBytes + row_bytes <= facts.shared_bytes_per_block;
  if (!shape.keeps) choice.list_capacity = std::min(kMostListed, room / kTokenBytes);
  choice.shared_bytes = kernel::kSamplingSharedBytes + choice.list_capacity * kTokenBytes +
                        (choice.keeps_row ? static_cast<int>(row_bytes) : 0);
  return choice;
}

// Whether an SM holds as many such blocks, with their columns, as the kernel is compiled for.
bool fills_sm(const SamplingChoice& choice, const cuda::ArchitectureFacts& facts) {
  return choice.keeps_row && kSmBlocks * (choice.shared_bytes + cuda::kKiB) <= facts.shared_bytes_per_sm;
}

// Whether the kernel goes over rows of logits as a whole more than once: for their largest, for their sum,
// and to write.
bool keeps_rows(const SamplingCall& call) {
  const TokenFilter& filter = call.filter;
  const bool filters = filter.top_k > 0 || filter.top_p < 1 || filter.min_p > 0 ||
                       filter.top_k_rows.given() || filter.top_p_rows.given() || filter.min_p_rows.given();
  return call.source == TokenSource::kLogits && call.task != TokenTask::kMask && !filters;
}

}  // namespace

// Few rows: as many blocks to a row as find enough to do. More rows than that fills the GPU with: fewer, as
// long as columns that are to be kept stay in shared memory.
SamplingChoice choose_sampling(const SamplingShape& shape, cuda::Architecture architecture, int sm_count) {
  const cuda::ArchitectureFacts& facts = cuda::facts(architecture);
  int cluster = facts.has_tma ? kClusters[std::size(kClusters) - 1] : 1;
  while (cluster > 1 && shape.vocab_size < cluster * kLeastBlockColumns) cluster /= 2;
  while (cluster > 1 && shape.rows * cluster > (shape.keeps ? kSmBlocks : 1) * sm_count &&
         (!shape.keeps || fills_sm(cut(shape, cluster / 2, facts), facts)))
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
                                                 .vector = width.elements(),
                                                 .keeps = keeps_rows(call)},
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
