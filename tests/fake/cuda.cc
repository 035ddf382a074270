// A library with the CUDA driver's interface and no GPU: two devices (sm_90 and one of a capability that
// Strobe has no kernels for), contexts per thread, streams that can be captured, kernels that do nothing. It
// checks what a driver checks and writes down what it was asked, so that the host side of CUDA calls is
// tested everywhere. Environment: FAKE_CUDA_VERSION (13000), FAKE_CUDA_INIT (result of cuInit),
// FAKE_CUDA_REFUSE (to load any code).
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <set>
#include <string>

#include "cuda/driver_api.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

using namespace strobe::cuda;

namespace strobe::cuda {
struct Context {
  int device;
};
struct Library {
  std::string code;
};
struct Function {
  int max_dynamic_shared = 0;
};
struct LibraryKernel {
  Function function;
};
struct StreamObject {
  bool capturing = false;
  bool spoilt = false;
};
struct EventObject {
  int recorded = 0;
};
struct Graph {};
struct GraphExec {};
}  // namespace strobe::cuda

namespace {

constexpr int kDevices = 2;
constexpr Result kInvalidValue = 1, kInvalidContext = 201, kInvalidDevice = 101, kNotFound = 500,
                 kNotPermitted = 800, kInvalidImage = 200;

Context contexts[kDevices] = {{0}, {1}};
int retained[kDevices] = {};
thread_local ContextHandle current = nullptr;
thread_local CaptureMode mode = kCaptureGlobal;
std::mutex mutex;
std::string text;
std::set<StreamHandle> capturing;

void note(const std::string& line) {
  const std::lock_guard lock(mutex);
  text += line + '\n';
}

// Calls that a capture forbids, unless the thread has relaxed its mode, spoil it.
Result unsafe() {
  const std::lock_guard lock(mutex);
  if (capturing.empty() || mode == kCaptureRelaxed) return kSuccess;
  for (StreamHandle stream : capturing) stream->spoilt = true;
  return kNotPermitted;
}

}  // namespace

EXPORT const char* fakeCudaCalls() {
  const std::lock_guard lock(mutex);
  static std::string copy;
  copy = text;
  text.clear();
  return copy.c_str();
}
EXPORT int fakeCudaRetained(int device) { return retained[device]; }

EXPORT Result cuInit(unsigned) {
  const char* result = std::getenv("FAKE_CUDA_INIT");
  return result != nullptr ? std::atoi(result) : kSuccess;
}
EXPORT Result cuDriverGetVersion(int* version) {
  const char* chosen = std::getenv("FAKE_CUDA_VERSION");
  *version = chosen != nullptr ? std::atoi(chosen) : 13000;
  return kSuccess;
}
EXPORT Result cuGetErrorName(Result error, const char** name) {
  *name = error == kNotPermitted ? "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"
          : error == 999         ? "CUDA_ERROR_UNKNOWN"
                                 : "CUDA_ERROR_FAKE";
  return kSuccess;
}
EXPORT Result cuGetErrorString(Result, const char** meaning) {
  *meaning = "as the test wants it";
  return kSuccess;
}
EXPORT Result cuDeviceGetCount(int* count) {
  *count = kDevices;
  return kSuccess;
}
EXPORT Result cuDeviceGet(DeviceHandle* device, int ordinal) {
  *device = ordinal;
  return ordinal < kDevices ? kSuccess : kInvalidDevice;
}
EXPORT Result cuDeviceGetName(char* name, int bytes, DeviceHandle device) {
  std::snprintf(name, static_cast<std::size_t>(bytes), "Fake GPU %d", device);
  return kSuccess;
}
EXPORT Result cuDeviceGetAttribute(int* value, DeviceAttribute attribute, DeviceHandle device) {
  switch (attribute) {
    case kDeviceCapabilityMajor:
      *value = device == 0 ? 9 : 7;
      return kSuccess;
    case kDeviceCapabilityMinor:
      *value = device == 0 ? 0 : 5;
      return kSuccess;
    case kDeviceSmCount:
      *value = 132;
      return kSuccess;
    case kDeviceSharedBytesPerBlock:
      *value = 232448;
      return kSuccess;
    default:
      *value = 1;
      return kSuccess;
  }
}
EXPORT Result cuDeviceTotalMem_v2(std::size_t* bytes, DeviceHandle) {
  *bytes = std::size_t{1} << 30;
  return kSuccess;
}
EXPORT Result cuDevicePrimaryCtxRetain(ContextHandle* context, DeviceHandle device) {
  ++retained[device];
  *context = &contexts[device];
  return kSuccess;
}
EXPORT Result cuCtxGetCurrent(ContextHandle* context) {
  *context = current;
  return kSuccess;
}
EXPORT Result cuCtxSetCurrent(ContextHandle context) {
  current = context;
  return kSuccess;
}
EXPORT Result cuLibraryLoadData(LibraryHandle* library, const void* code, int*, void**, unsigned, int*,
                                void**, unsigned) {
  if (const Result result = unsafe(); result != kSuccess) return result;
  if (std::getenv("FAKE_CUDA_REFUSE") != nullptr || std::memcmp(code,
                                                                "\x7f"
                                                                "ELF",
                                                                4) != 0)
    return kInvalidImage;
  *library = new Library{static_cast<const char*>(code)};
  note("load");
  return kSuccess;
}
EXPORT Result cuLibraryUnload(LibraryHandle library) {
  delete library;
  return kSuccess;
}
EXPORT Result cuLibraryGetKernel(KernelHandle* kernel, LibraryHandle, const char* name) {
  note(std::string("kernel ") + name);
  if (std::string(name).starts_with("strobe_") == false) return kNotFound;
  *kernel = new LibraryKernel;
  return kSuccess;
}
EXPORT Result cuKernelGetFunction(FunctionHandle* function, KernelHandle kernel) {
  if (current == nullptr) return kInvalidContext;
  *function = &kernel->function;
  return kSuccess;
}
EXPORT Result cuFuncGetAttribute(int* value, FunctionAttribute, FunctionHandle) {
  *value = 0;
  return kSuccess;
}
EXPORT Result cuFuncSetAttribute(FunctionHandle function, FunctionAttribute attribute, int value) {
  if (attribute == kFunctionMaxDynamicSharedBytes) function->max_dynamic_shared = value;
  return value <= 232448 ? kSuccess : kInvalidValue;
}
// Every kernel takes the tests' TinyParams: two pointers and an int.
EXPORT Result cuFuncGetParamInfo(FunctionHandle, std::size_t index, std::size_t* offset, std::size_t* bytes) {
  *offset = 0;
  *bytes = 24;
  return index == 0 ? kSuccess : kInvalidValue;
}
EXPORT Result cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, FunctionHandle, int, std::size_t) {
  *blocks = 1;
  return kSuccess;
}
EXPORT Result cuLaunchKernelEx(const LaunchRequest* request, FunctionHandle function, void** params, void**) {
  if (current == nullptr) return kInvalidContext;
  if (static_cast<int>(request->shared_bytes) > std::max(function->max_dynamic_shared, 48 * 1024))
    return kInvalidValue;
  char line[256];
  std::snprintf(line, sizeof line, "launch device %d grid %u,%u,%u block %u,%u,%u shared %u", current->device,
                request->grid_x, request->grid_y, request->grid_z, request->block_x, request->block_y,
                request->block_z, request->shared_bytes);
  std::string all = line;
  for (unsigned i = 0; i < request->attribute_count; ++i) {
    const LaunchAttribute& attribute = request->attributes[i];
    if (attribute.id == kLaunchClusterDimension)
      std::snprintf(line, sizeof line, " cluster %u,%u,%u", attribute.value.cluster.x,
                    attribute.value.cluster.y, attribute.value.cluster.z);
    else
      std::snprintf(line, sizeof line, " attribute %d=%d", attribute.id, attribute.value.flag);
    all += line;
  }
  std::snprintf(line, sizeof line, " count %d", *reinterpret_cast<int*>(static_cast<char*>(params[0]) + 16));
  note(all + line);
  return kSuccess;
}
EXPORT Result cuTensorMapEncodeTiled(TensorMap* map, TensorMapType, std::uint32_t, void* address,
                                     const std::uint64_t*, const std::uint64_t*, const std::uint32_t*,
                                     const std::uint32_t*, TensorMapInterleave, TensorMapSwizzle,
                                     TensorMapL2Promotion, TensorMapFill) {
  if (current == nullptr) return kInvalidContext;
  note("encode");
  map->opaque[0] = reinterpret_cast<std::uint64_t>(address);
  return kSuccess;
}
EXPORT Result cuStreamCreate(StreamHandle* stream, unsigned) {
  if (current == nullptr) return kInvalidContext;
  *stream = new StreamObject;
  return kSuccess;
}
EXPORT Result cuStreamDestroy_v2(StreamHandle stream) {
  delete stream;
  return kSuccess;
}
EXPORT Result cuStreamSynchronize(StreamHandle) { return unsafe(); }
EXPORT Result cuStreamIsCapturing(StreamHandle stream, CaptureStatus* status) {
  *status = !stream->capturing ? kCaptureNone : stream->spoilt ? kCaptureInvalidated : kCaptureActive;
  return kSuccess;
}
EXPORT Result cuStreamBeginCapture_v2(StreamHandle stream, CaptureMode) {
  const std::lock_guard lock(mutex);
  stream->capturing = true;
  stream->spoilt = false;
  capturing.insert(stream);
  return kSuccess;
}
EXPORT Result cuStreamEndCapture(StreamHandle stream, GraphHandle* graph) {
  const std::lock_guard lock(mutex);
  stream->capturing = false;
  capturing.erase(stream);
  *graph = new Graph;
  return stream->spoilt ? kNotPermitted : kSuccess;
}
EXPORT Result cuThreadExchangeStreamCaptureMode(CaptureMode* exchanged) {
  std::swap(mode, *exchanged);
  return kSuccess;
}
EXPORT Result cuGraphInstantiateWithFlags(GraphExecHandle* exec, GraphHandle, unsigned long long) {
  *exec = new GraphExec;
  return kSuccess;
}
EXPORT Result cuGraphLaunch(GraphExecHandle, StreamHandle) { return kSuccess; }
EXPORT Result cuGraphExecDestroy(GraphExecHandle exec) {
  delete exec;
  return kSuccess;
}
EXPORT Result cuGraphDestroy(GraphHandle graph) {
  delete graph;
  return kSuccess;
}
EXPORT Result cuEventCreate(EventHandle* event, unsigned) {
  if (current == nullptr) return kInvalidContext;
  *event = new EventObject;
  return kSuccess;
}
EXPORT Result cuEventDestroy_v2(EventHandle event) {
  delete event;
  return kSuccess;
}
EXPORT Result cuEventRecord(EventHandle event, StreamHandle) {
  ++event->recorded;
  return kSuccess;
}
EXPORT Result cuStreamWaitEvent(StreamHandle, EventHandle, unsigned) { return kSuccess; }
EXPORT Result cuEventQuery(EventHandle event) { return event->recorded > 0 ? kSuccess : kErrorNotReady; }
EXPORT Result cuEventSynchronize(EventHandle) { return kSuccess; }
EXPORT Result cuEventElapsedTime(float* milliseconds, EventHandle, EventHandle) {
  *milliseconds = 1.5f;
  return kSuccess;
}
EXPORT Result cuMemAlloc_v2(DevicePointer* pointer, std::size_t bytes) {
  if (current == nullptr) return kInvalidContext;
  if (bytes > std::size_t{1} << 30) return kErrorOutOfMemory;
  *pointer = reinterpret_cast<DevicePointer>(std::malloc(bytes));
  return kSuccess;
}
EXPORT Result cuMemFree_v2(DevicePointer pointer) {
  std::free(reinterpret_cast<void*>(pointer));
  return kSuccess;
}
EXPORT Result cuMemGetInfo_v2(std::size_t* free, std::size_t* total) {
  *free = 12345;
  *total = std::size_t{1} << 30;
  return kSuccess;
}
EXPORT Result cuMemHostAlloc(void** pointer, std::size_t bytes, unsigned) {
  *pointer = std::malloc(bytes);
  return kSuccess;
}
EXPORT Result cuMemFreeHost(void* pointer) {
  std::free(pointer);
  return kSuccess;
}
EXPORT Result cuMemcpyHtoDAsync_v2(DevicePointer to, const void* from, std::size_t bytes, StreamHandle) {
  std::memcpy(reinterpret_cast<void*>(to), from, bytes);
  return kSuccess;
}
EXPORT Result cuMemcpyDtoHAsync_v2(void* to, DevicePointer from, std::size_t bytes, StreamHandle) {
  std::memcpy(to, reinterpret_cast<void*>(from), bytes);
  return kSuccess;
}
EXPORT Result cuMemcpyDtoDAsync_v2(DevicePointer to, DevicePointer from, std::size_t bytes, StreamHandle) {
  std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
  return kSuccess;
}
EXPORT Result cuMemsetD8Async(DevicePointer to, unsigned char value, std::size_t bytes, StreamHandle) {
  std::memset(reinterpret_cast<void*>(to), value, bytes);
  return kSuccess;
}
EXPORT Result cuPointerGetAttribute(void*, PointerAttribute, DevicePointer) { return kInvalidValue; }
