#include "ops/statistics_cuda.h"

#include <algorithm>

#include "cuda/capture.h"
#include "cuda/device_buffer.h"
#include "cuda/host_view.h"
#include "ops/cuda_rows.h"
#include "statistics/statistics_params.h"

namespace strobe::op {
namespace {

constexpr int kBlocksPerSm = 4, kElementsPerThread = 8;

constexpr jit::KernelSource kStatistics = {.name = "statistics",
                                           .header = "statistics/statistics.cuh",
                                           .launch_facts = [](jit::Values, cuda::Architecture) {
                                             return jit::LaunchFacts{.threads = kernel::kStatisticsThreads};
                                           }};

// The view with neighbouring axes joined where one stride serves for both.
kernel::StatisticsParams params_of(const TensorView& view) {
  static_assert(kMaxRank <= kernel::kStatisticsAxes);
  kernel::StatisticsParams params{.data = view.as<const char>(),
                                  .elements = view.size(),
                                  .shape = {1},
                                  .rank = 1,
                                  .element_bytes = static_cast<std::int32_t>(size_of(view.dtype)),
                                  .dtype = static_cast<kernel::Dtype>(view.dtype)};
  for (std::size_t axis = 0; axis < static_cast<std::size_t>(view.rank); ++axis) {
    const std::int64_t extent = view.shape[axis], stride = view.strides[axis];
    const int last = params.rank - 1;
    if (extent == 1) continue;
    if (params.shape[last] == 1 || params.strides[last] == extent * stride) {
      params.shape[last] *= extent;
      params.strides[last] = stride;
    } else {
      params.shape[last + 1] = extent;
      params.strides[last + 1] = stride;
      ++params.rank;
    }
  }
  return params;
}

}  // namespace

Statistics statistics_on_gpu(const TensorView& view, Stream stream) {
  if (view.size() == 0) return {};
  const cuda::RelaxedCapture relaxed;  // another stream may be captured meanwhile
  const Gpu gpu = gpu_of(view.device);
  const std::int64_t most = std::int64_t{kBlocksPerSm} * gpu.sm_count;
  const std::int64_t blocks =
      std::min(most, ceil_div(view.size(), std::int64_t{kernel::kStatisticsThreads} * kElementsPerThread));
  const auto bytes = static_cast<std::int64_t>(sizeof(kernel::StatisticsPart)) * blocks;
  const cuda::DeviceBuffer buffer(view.device, static_cast<std::size_t>(bytes));
  kernel::StatisticsParams params = params_of(view);
  params.parts = static_cast<kernel::StatisticsPart*>(buffer.data());
  launch_kernel(kStatistics, {}, gpu, blocks, params, stream);
  const cuda::HostView parts(TensorView(buffer.data(), Dtype::kU8, {bytes}, view.device), stream);
  Statistics sum;
  for (std::int64_t block = 0; block < blocks; ++block) {
    const kernel::StatisticsPart& part = parts.view().as<const kernel::StatisticsPart>()[block];
    sum.low = std::min(sum.low, part.low);
    sum.high = std::max(sum.high, part.high);
    sum.sum += part.sum;
    sum.finite += part.finite;
    sum.nan += part.nan;
    sum.inf += part.inf;
  }
  return sum;
}

void declare_statistics_kernels(jit::KernelRegistry& registry) { registry.add(kStatistics); }

}  // namespace strobe::op
