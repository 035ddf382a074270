#include "jit/kernels.h"

#include <algorithm>

#include "core/env.h"
#include "core/message.h"
#include "cuda/capture.h"
#include "cuda/device.h"
#include "cuda/driver.h"
#include "cuda/library.h"
#include "jit/compiler.h"
#include "jit/kernel_map.h"
#include "jit/rehearsal.h"

namespace strobe::jit {
namespace {

KernelMap& loaded() {
  static KernelMap& map = *new KernelMap;
  return map;
}

Variant variant_of(const KernelKey& key, cuda::Architecture architecture) {
  Variant variant{key.source, key.values, architecture};
  if (!exists(variant))
    fail(ErrorKind::kInvalidArgument, "{}: there is no such kernel; its source declares which there are",
         describe(variant));
  return variant;
}

cuda::KernelDescription description_of(const Variant& variant) {
  const LaunchFacts launch = variant.source->launch_facts(variant.constants(), variant.architecture);
  return {.name = describe(variant),
          .entry = "strobe_" + std::string(variant.source->name),
          .threads = launch.threads,
          .shared_bytes = launch.shared_bytes};
}

// One kernel that knows its launch facts and nothing else, remembered by the rehearsing thread.
const cuda::Kernel& rehearsed(const Variant& variant) {
  thread_local cuda::Kernel kernel;
  cuda::KernelDescription description = description_of(variant);
  kernel = {.name = std::move(description.name),
            .threads = description.threads,
            .shared_bytes = description.shared_bytes};
  rehearsal()->note(variant);
  return kernel;
}

const cuda::Kernel& load(const KernelKey& key, Device device, Stream stream) {
  const Variant variant = variant_of(key, cuda::architecture_of(device));
  Demand demand;
  // A driver loads code of the compilers of its own and earlier major versions.
  demand.newest_nvrtc = cuda::driver_status().version / 1000 * 1000 + 999;
  if (cuda::is_capturing(device, stream))
    demand.no_compile = fmt::format(
        "nothing is compiled while a graph is being captured; run the call once before the capture, or "
        "`strobe warmup --arch {}` before the program",
        cuda::name(variant.architecture));
  const std::shared_ptr<const Binary> binary = compiler().obtain(variant, demand);
  try {
    return loaded().insert(key, cuda::load_kernel(binary->entry.code, description_of(variant), device.index));
  } catch (const Error& error) {
    const int compiled_by = binary->entry.record.name.compiler_version;
    if (compiled_by <= demand.newest_nvrtc) throw;
    fail(error.kind(),
         "{}; it was compiled by NVRTC {}, which is newer than the driver: update the driver, or set {} to "
         "an NVRTC of "
         "CUDA {}",
         error.what(), cuda::version_text(compiled_by), env::entry(env::Variable::kNvrtc).name,
         demand.newest_nvrtc / 1000);
  }
}

}  // namespace

const cuda::Kernel& get(const KernelSource& source, Values values, Device device, Stream stream) {
  KernelKey key{&source, {}, device.index};
  if (values.size() != source.constants.size()) [[unlikely]]
    fail(ErrorKind::kInvalidArgument, "kernel {}: {} values for {} constants", source.name, values.size(),
         source.constants.size());
  std::copy(values.begin(), values.end(), key.values.begin());
  if (rehearsal() != nullptr) [[unlikely]]
    return rehearsed(variant_of(key, cuda::architecture_of(device)));
  const cuda::Kernel* kernel = loaded().find(key);
  if (kernel != nullptr) [[likely]]
    return *kernel;
  return load(key, device, stream);
}

}  // namespace strobe::jit
