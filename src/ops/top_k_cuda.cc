#include <bit>

#include "ops/cuda_rows.h"
#include "ops/sampling_cuda.h"
#include "ops/top_k_call.h"
#include "sampling/top_k_params.h"

namespace strobe::op {
namespace {

// The constants of kernels/sampling/top_k.cuh, in the order of its source.
enum { kInput, kVector, kCluster };

constexpr std::int64_t kMostK = 4096;
constexpr int kVectors[] = {1, 4, 8};
constexpr int kClusters[] = {1, 2, 4, 8};

constexpr jit::Constant kConstants[] = {
    {"kInput", kDtypeType, kFloatDtypes, print_dtype},
    {"kVector", "int", kVectors},
    {"kCluster", "int", kClusters},
};

bool valid(jit::Values values, cuda::Architecture architecture) {
  if (values[kVector] != 1 && values[kVector] != widest_vector(static_cast<Dtype>(values[kInput])))
    return false;
  return values[kCluster] == 1 || cuda::facts(architecture).has_tma;
}

constexpr jit::KernelSource kTopK = {.name = "top_k",
                                     .header = "sampling/top_k.cuh",
                                     .types = "tile/dtype.h",
                                     .constants = kConstants,
                                     .valid = valid,
                                     .launch_facts = [](jit::Values, cuda::Architecture architecture) {
                                       return jit::LaunchFacts{
                                           .threads = kernel::kSamplingThreads,
                                           .shared_bytes = cuda::facts(architecture).shared_bytes_per_block};
                                     }};

const std::int32_t* values(const TensorView* view) {
  return view != nullptr && view->given() ? view->as<std::int32_t>() : nullptr;
}

kernel::TopKParams params_of(const TopKCall& call, const SamplingChoice& choice) {
  kernel::TopKParams params{.cut = row_cut(call.input, choice),
                            .values = call.values != nullptr ? call.values->data : nullptr,
                            .indices = call.indices.data,
                            .k = static_cast<std::int32_t>(call.k()),
                            .wide = call.indices.dtype == Dtype::kI64,
                            .last_first = call.last_first,
                            .lengths = values(call.lengths),
                            .row_starts = values(call.row_starts),
                            .offsets = values(call.offsets),
                            .page_table = values(call.page_table),
                            .row_to_batch = values(call.row_to_batch),
                            .page_table_row_starts = values(call.page_table_row_starts)};
  if (call.page_table != nullptr) {
    params.page_table_stride = call.page_table->strides[0];
    params.num_batches = static_cast<std::int32_t>(call.page_table->shape[0]);
    params.page_table_length = static_cast<std::int32_t>(call.page_table->shape[1]);
    params.page_shift = std::countr_zero(static_cast<std::uint64_t>(call.page_size));
  }
  if (call.raw_indices != nullptr && call.raw_indices->given())
    params.raw_indices = call.raw_indices->as<std::int32_t>();
  return params;
}

}  // namespace

void run_top_k_cuda(const TopKCall& call, const Launch& launch) {
  if (call.rows() == 0) return;
  const Gpu gpu = gpu_of(call.input.device);
  if (call.k() > kMostK)
    fail(ErrorKind::kUnsupported, "{}: k = {} on a GPU, at most {} are possible", call.op_name, call.k(),
         kMostK);
  VectorWidth width(widest_vector(call.input.dtype));
  width.extent(call.input.shape[1]).rows(call.input);
  if (values(call.row_starts) != nullptr) width.extent(1);  // rows begin anywhere
  const SamplingChoice choice = choose_sampling({.dtype = call.input.dtype,
                                                 .rows = call.rows(),
                                                 .vocab_size = call.input.shape[1],
                                                 .vector = width.elements()},
                                                gpu.architecture, gpu.sm_count);
  if (call.rows() > kMaxRows / choice.cluster)
    fail(ErrorKind::kUnsupported, "{}: {} rows on a GPU, at most {} are possible", call.op_name, call.rows(),
         kMaxRows / choice.cluster);
  const cuda::Kernel& kernel = jit::get(
      kTopK, {static_cast<int>(call.input.dtype), choice.vector, choice.cluster}, gpu.device, launch.stream);
  cuda::launch(kernel,
               {.grid = {.x = static_cast<std::uint32_t>(call.rows() * choice.cluster)},
                .cluster = {.x = static_cast<std::uint32_t>(choice.cluster)},
                .shared_bytes = choice.shared_bytes,
                .pdl = cuda::facts(gpu.architecture).overlaps_launches,
                .stream = launch.stream},
               params_of(call, choice));
}

void declare_top_k_kernels(jit::KernelRegistry& registry) { registry.add(kTopK); }

}  // namespace strobe::op
