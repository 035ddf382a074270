#include "cuda/driver.h"

#include <dlfcn.h>
#include <pthread.h>

#include <atomic>

#include "core/message.h"

namespace strobe::cuda {
namespace {

constexpr const char* kLibraryNames[] = {"libcuda.so.1", "libcuda.so"};

std::atomic<bool> forked{false};

// Every field of the table; the name of the first function that is missing, if any.
const char* resolve(void* library, DriverApi& api) {
  const char* missing = nullptr;
  const auto find = [&](auto& function, const char* name, bool needed = true) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
    if (function == nullptr && needed && missing == nullptr) missing = name;
  };
  find(api.cuInit, "cuInit");
  find(api.cuDriverGetVersion, "cuDriverGetVersion");
  find(api.cuGetErrorName, "cuGetErrorName");
  find(api.cuGetErrorString, "cuGetErrorString");
  find(api.cuDeviceGetCount, "cuDeviceGetCount");
  find(api.cuDeviceGet, "cuDeviceGet");
  find(api.cuDeviceGetName, "cuDeviceGetName");
  find(api.cuDeviceGetAttribute, "cuDeviceGetAttribute");
  find(api.cuDeviceTotalMem_v2, "cuDeviceTotalMem_v2");
  find(api.cuDevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain");
  find(api.cuCtxGetCurrent, "cuCtxGetCurrent");
  find(api.cuCtxSetCurrent, "cuCtxSetCurrent");
  find(api.cuLibraryLoadData, "cuLibraryLoadData");
  find(api.cuLibraryUnload, "cuLibraryUnload");
  find(api.cuLibraryGetKernel, "cuLibraryGetKernel");
  find(api.cuKernelGetFunction, "cuKernelGetFunction");
  find(api.cuFuncGetAttribute, "cuFuncGetAttribute");
  find(api.cuFuncSetAttribute, "cuFuncSetAttribute");
  find(api.cuFuncGetParamInfo, "cuFuncGetParamInfo", false);
  find(api.cuOccupancyMaxActiveBlocksPerMultiprocessor, "cuOccupancyMaxActiveBlocksPerMultiprocessor");
  find(api.cuLaunchKernelEx, "cuLaunchKernelEx");
  find(api.cuTensorMapEncodeTiled, "cuTensorMapEncodeTiled");
  find(api.cuStreamCreate, "cuStreamCreate");
  find(api.cuStreamDestroy_v2, "cuStreamDestroy_v2");
  find(api.cuStreamSynchronize, "cuStreamSynchronize");
  find(api.cuStreamIsCapturing, "cuStreamIsCapturing");
  find(api.cuStreamBeginCapture_v2, "cuStreamBeginCapture_v2");
  find(api.cuStreamEndCapture, "cuStreamEndCapture");
  find(api.cuThreadExchangeStreamCaptureMode, "cuThreadExchangeStreamCaptureMode");
  find(api.cuGraphInstantiateWithFlags, "cuGraphInstantiateWithFlags");
  find(api.cuGraphLaunch, "cuGraphLaunch");
  find(api.cuGraphExecDestroy, "cuGraphExecDestroy");
  find(api.cuGraphDestroy, "cuGraphDestroy");
  find(api.cuEventCreate, "cuEventCreate");
  find(api.cuEventDestroy_v2, "cuEventDestroy_v2");
  find(api.cuEventRecord, "cuEventRecord");
  find(api.cuStreamWaitEvent, "cuStreamWaitEvent");
  find(api.cuEventQuery, "cuEventQuery");
  find(api.cuEventSynchronize, "cuEventSynchronize");
  find(api.cuEventElapsedTime, "cuEventElapsedTime");
  find(api.cuMemAlloc_v2, "cuMemAlloc_v2");
  find(api.cuMemFree_v2, "cuMemFree_v2");
  find(api.cuMemGetInfo_v2, "cuMemGetInfo_v2");
  find(api.cuMemHostAlloc, "cuMemHostAlloc");
  find(api.cuMemFreeHost, "cuMemFreeHost");
  find(api.cuMemcpyHtoDAsync_v2, "cuMemcpyHtoDAsync_v2");
  find(api.cuMemcpyDtoHAsync_v2, "cuMemcpyDtoHAsync_v2");
  find(api.cuMemcpyDtoDAsync_v2, "cuMemcpyDtoDAsync_v2");
  find(api.cuMemsetD8Async, "cuMemsetD8Async");
  find(api.cuPointerGetAttribute, "cuPointerGetAttribute");
  return missing;
}

std::string error_text(const DriverApi& api, Result result) {
  const char* name = nullptr;
  const char* meaning = nullptr;
  if (api.cuGetErrorName(result, &name) != kSuccess || name == nullptr)
    return fmt::format("error {}", result);
  if (api.cuGetErrorString(result, &meaning) != kSuccess || meaning == nullptr) meaning = "no description";
  return fmt::format("{} ({}): {}", name, result, meaning);
}

struct Driver {
  DriverApi api{};
  DriverStatus status;

  Driver() { status.problem = load(); }

  std::string load() {
    void* library = nullptr;
    std::string reason;
    for (const char* name : kLibraryNames) {
      library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
      if (library != nullptr) {
        status.library = name;
        break;
      }
      if (reason.empty()) reason = dlerror();
    }
    if (library == nullptr)
      return fmt::format("no NVIDIA driver was found ({}); it comes with the driver package of the machine",
                         reason);
    api.cuDriverGetVersion =
        reinterpret_cast<decltype(api.cuDriverGetVersion)>(dlsym(library, "cuDriverGetVersion"));
    if (api.cuDriverGetVersion == nullptr || api.cuDriverGetVersion(&status.version) != kSuccess)
      return fmt::format("{} does not tell its version; it is no CUDA driver library", status.library);
    if (status.version < kLeastDriverVersion)
      return fmt::format("the NVIDIA driver is too old: it supports CUDA {}, Strobe needs {} or newer",
                         version_text(status.version), version_text(kLeastDriverVersion));
    if (const char* missing = resolve(library, api); missing != nullptr)
      return fmt::format("{} (CUDA {}) has no {}", status.library, version_text(status.version), missing);
    if (const Result result = api.cuInit(0); result != kSuccess)
      return fmt::format("the NVIDIA driver does not start: cuInit: {}", error_text(api, result));
    pthread_atfork(nullptr, nullptr, [] { forked.store(true, std::memory_order_relaxed); });
    return "";
  }
};

// Never destroyed: static objects that own events or memory may still need it at exit.
const Driver& loaded() {
  static const Driver& driver = *new Driver;
  return driver;
}

}  // namespace

const DriverStatus& driver_status() { return loaded().status; }

const DriverApi& driver() {
  const Driver& driver = loaded();
  if (!driver.status.problem.empty()) [[unlikely]]
    fail(ErrorKind::kUnsupported, "CUDA: {}", driver.status.problem);
  if (forked.load(std::memory_order_relaxed)) [[unlikely]]
    fail(ErrorKind::kDriver,
         "CUDA: this process was forked from one that had used CUDA, and the driver does not survive fork(); "
         "start workers before the first CUDA call, or start them anew (spawn, exec)");
  return driver.api;
}

void check(Result result, std::string_view call) {
  if (result == kSuccess) [[likely]]
    return;
  fail(result == kErrorOutOfMemory ? ErrorKind::kOutOfMemory : ErrorKind::kDriver, "CUDA: {}: {}", call,
       error_text(loaded().api, result));
}

std::string version_text(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

}  // namespace strobe::cuda
