#include "cuda/library.h"

#include "core/message.h"
#include "cuda/capture.h"
#include "cuda/device.h"
#include "cuda/driver.h"

namespace strobe::cuda {
namespace {

FunctionHandle load_function(std::span<const char> cubin, const std::string& entry) {
  const DriverApi& api = driver();
  LibraryHandle library = nullptr;
  check(api.cuLibraryLoadData(&library, cubin.data(), nullptr, nullptr, 0, nullptr, nullptr, 0),
        "cuLibraryLoadData");
  try {
    KernelHandle kernel = nullptr;
    check(api.cuLibraryGetKernel(&kernel, library, entry.c_str()), "cuLibraryGetKernel " + entry);
    FunctionHandle function = nullptr;
    check(api.cuKernelGetFunction(&function, kernel), "cuKernelGetFunction " + entry);
    return function;
  } catch (...) {
    api.cuLibraryUnload(library);
    throw;
  }
}

// The kernel's one parameter; 0 when the driver cannot tell.
std::size_t params_bytes_of(FunctionHandle function) {
  std::size_t offset = 0, bytes = 0;
  const DriverApi& api = driver();
  if (api.cuFuncGetParamInfo == nullptr || api.cuFuncGetParamInfo(function, 0, &offset, &bytes) != kSuccess)
    return 0;
  return bytes;
}

}  // namespace

Kernel load_kernel(std::span<const char> cubin, const KernelDescription& description, int ordinal) {
  try {
    const ContextGuard context(ordinal);
    const RelaxedCapture relaxed;
    const FunctionHandle function = load_function(cubin, description.entry);
    const DriverApi& api = driver();
    if (description.shared_bytes > 0)
      check(api.cuFuncSetAttribute(function, kFunctionMaxDynamicSharedBytes, description.shared_bytes),
            fmt::format("cuFuncSetAttribute (dynamic shared memory, {} bytes)", description.shared_bytes));
    return {.function = function,
            .name = description.name,
            .device = ordinal,
            .threads = description.threads,
            .shared_bytes = description.shared_bytes,
            .params_bytes = params_bytes_of(function)};
  } catch (const Error& error) {
    fail(error.kind(), "{} cannot be loaded on cuda:{} (driver for CUDA {}): {}", description.name, ordinal,
         version_text(driver_status().version), error.what());
  }
}

}  // namespace strobe::cuda
