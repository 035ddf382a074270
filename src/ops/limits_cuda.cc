#include "ops/limits_cuda.h"

#include <algorithm>

#include "limits/read_params.h"
#include "ops/cuda_rows.h"

namespace strobe::op {
namespace {

constexpr int kBlocksPerSm = 4;  // 2048 threads: all that an SM holds

constexpr jit::KernelSource kLimitsRead = {
    .name = "limits_read", .header = "limits/read.cuh", .launch_facts = [](jit::Values, cuda::Architecture) {
      return jit::LaunchFacts{.threads = kernel::kReadThreads};
    }};

}  // namespace

std::int64_t read_granularity() { return kernel::kReadTileBytes; }

void launch_read(Device device, Stream stream, const void* data, std::int64_t bytes, int passes, void* sink) {
  const Gpu gpu = gpu_of(device);
  const kernel::ReadParams params{.data = static_cast<const char*>(data),
                                  .sink = static_cast<std::uint32_t*>(sink),
                                  .tiles = ceil_div(bytes, read_granularity()),
                                  .passes = passes};
  const std::int64_t blocks = std::min<std::int64_t>(params.tiles, std::int64_t{kBlocksPerSm} * gpu.sm_count);
  launch_kernel(kLimitsRead, {}, gpu, blocks, params, stream);
}

void declare_limits_kernels(jit::KernelRegistry& registry) { registry.add(kLimitsRead); }

}  // namespace strobe::op
