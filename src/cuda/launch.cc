#include "cuda/launch.h"

#include "core/message.h"
#include "cuda/capture.h"
#include "cuda/device.h"
#include "cuda/driver.h"
#include "cuda/rehearsal.h"

namespace strobe::cuda {
namespace {

constexpr int kMaxAttributes = 3;

struct Attributes {
  LaunchAttribute list[kMaxAttributes];
  unsigned count = 0;

  LaunchAttribute& add(LaunchAttributeId id) {
    LaunchAttribute& attribute = list[count++];
    attribute = {};
    attribute.id = id;
    return attribute;
  }
};

void add_attributes(const LaunchConfig& config, Attributes& attributes) {
  const Dim3& cluster = config.cluster;
  if (cluster.x * cluster.y * cluster.z > 1)
    attributes.add(kLaunchClusterDimension).value.cluster = {cluster.x, cluster.y, cluster.z};
  if (config.pdl) attributes.add(kLaunchProgrammaticSerialization).value.flag = 1;
  if (config.cooperative) attributes.add(kLaunchCooperative).value.flag = 1;
}

bool is_empty(const Dim3& grid) { return grid.x == 0 || grid.y == 0 || grid.z == 0; }

[[noreturn]] void explain(const Kernel& kernel, const LaunchRequest& request, const Error& error) {
  fail(error.kind(), "{} on cuda:{}, grid {}x{}x{}, block {}x{}x{}, {} bytes of dynamic shared memory: {}",
       kernel.name, kernel.device, request.grid_x, request.grid_y, request.grid_z, request.block_x,
       request.block_y, request.block_z, request.shared_bytes, error.what());
}

}  // namespace

void launch_erased(const Kernel& kernel, const LaunchConfig& config, const void* params,
                   std::size_t params_bytes) {
  if (rehearsal() != nullptr) [[unlikely]]
    return;
  if (is_empty(config.grid)) return;  // nothing to do; the driver would call it an error
  if (kernel.params_bytes != 0 && kernel.params_bytes != params_bytes) [[unlikely]]
    fail(ErrorKind::kInvalidArgument, "{}: the host passes {} bytes of parameters, the kernel takes {}",
         kernel.name, params_bytes, kernel.params_bytes);
  const bool own_block = config.block.x * config.block.y * config.block.z == 1;
  Attributes attributes;
  add_attributes(config, attributes);
  LaunchRequest request = {
      .grid_x = config.grid.x,
      .grid_y = config.grid.y,
      .grid_z = config.grid.z,
      .block_x = own_block ? static_cast<unsigned>(kernel.threads) : config.block.x,
      .block_y = config.block.y,
      .block_z = config.block.z,
      .shared_bytes =
          static_cast<unsigned>(config.shared_bytes >= 0 ? config.shared_bytes : kernel.shared_bytes),
      .stream = handle_of(config.stream),
      .attributes = attributes.list,
      .attribute_count = attributes.count,
  };
  void* pointers[] = {const_cast<void*>(params)};
  const ContextGuard context(kernel.device);
  const Result result = driver().cuLaunchKernelEx(&request, kernel.function, pointers, nullptr);
  if (result != kSuccess) [[unlikely]] {
    try {
      check(result, "cuLaunchKernelEx");
    } catch (const Error& error) {
      explain(kernel, request, error);
    }
  }
}

}  // namespace strobe::cuda
