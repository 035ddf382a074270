// The part of the CUDA driver API that Strobe calls, in declarations of our own, so that the library builds
// where no CUDA is installed. Names, values and layouts are those of NVIDIA's documented ABI (CUDA Driver API
// reference manual); tests/driver_abi_test.cc holds them against cuda.h where there is one.
#pragma once

#include <cstddef>
#include <cstdint>

namespace strobe::cuda {

using Result = int;  // CUresult
inline constexpr Result kSuccess = 0;
inline constexpr Result kErrorOutOfMemory = 2;
inline constexpr Result kErrorNotReady = 600;

using DeviceHandle = int;                    // CUdevice
using DevicePointer = std::uint64_t;         // CUdeviceptr
using ContextHandle = struct Context*;       // CUcontext
using LibraryHandle = struct Library*;       // CUlibrary
using KernelHandle = struct LibraryKernel*;  // CUkernel
using FunctionHandle = struct Function*;     // CUfunction
using StreamHandle = struct StreamObject*;   // CUstream
using EventHandle = struct EventObject*;     // CUevent
using GraphHandle = struct Graph*;           // CUgraph
using GraphExecHandle = struct GraphExec*;   // CUgraphExec

enum DeviceAttribute : int {
  kDeviceClockKHz = 13,
  kDeviceSmCount = 16,
  kDeviceMemoryClockKHz = 36,
  kDeviceMemoryBusBits = 37,
  kDeviceL2Bytes = 38,
  kDeviceCapabilityMajor = 75,
  kDeviceCapabilityMinor = 76,
  kDeviceCooperativeLaunch = 95,
  kDeviceSharedBytesPerBlock = 97,
};

enum FunctionAttribute : int {
  kFunctionLocalBytes = 3,
  kFunctionRegisters = 4,
  kFunctionMaxDynamicSharedBytes = 8,
  kFunctionNonPortableCluster = 14,
};

enum PointerAttribute : int { kPointerDeviceOrdinal = 9 };

enum CaptureStatus : int { kCaptureNone = 0, kCaptureActive = 1, kCaptureInvalidated = 2 };
enum CaptureMode : int { kCaptureGlobal = 0, kCaptureThreadLocal = 1, kCaptureRelaxed = 2 };

enum LaunchAttributeId : int {
  kLaunchCooperative = 2,
  kLaunchClusterDimension = 4,
  kLaunchProgrammaticSerialization = 6,
};

struct LaunchAttribute {  // CUlaunchAttribute
  LaunchAttributeId id;
  char pad[8 - sizeof(int)];
  union {
    int flag;
    struct {
      unsigned x, y, z;
    } cluster;
    char bytes[64];
  } value;
};

struct LaunchRequest {  // CUlaunchConfig
  unsigned grid_x, grid_y, grid_z;
  unsigned block_x, block_y, block_z;
  unsigned shared_bytes;
  StreamHandle stream;
  LaunchAttribute* attributes;
  unsigned attribute_count;
};

struct alignas(128) TensorMap {  // CUtensorMap; CUDA 12 aligned it to 64 bytes
  std::uint64_t opaque[16];
};

enum class TensorMapType : int { kU8 = 0, kU16 = 1, kU32 = 2, kI32 = 3, kF16 = 6, kF32 = 7, kBf16 = 9 };
enum class TensorMapInterleave : int { kNone = 0 };
enum class TensorMapSwizzle : int { kNone = 0, k32Bytes = 1, k64Bytes = 2, k128Bytes = 3 };
enum class TensorMapL2Promotion : int { kNone = 0, k64Bytes = 1, k128Bytes = 2, k256Bytes = 3 };
enum class TensorMapFill : int { kZero = 0 };

// The entry points, by the names that the library exports.
struct DriverApi {
  Result (*cuInit)(unsigned flags);
  Result (*cuDriverGetVersion)(int* version);
  Result (*cuGetErrorName)(Result error, const char** text);
  Result (*cuGetErrorString)(Result error, const char** text);

  Result (*cuDeviceGetCount)(int* count);
  Result (*cuDeviceGet)(DeviceHandle* device, int ordinal);
  Result (*cuDeviceGetName)(char* name, int bytes, DeviceHandle device);
  Result (*cuDeviceGetAttribute)(int* value, DeviceAttribute attribute, DeviceHandle device);
  Result (*cuDeviceTotalMem_v2)(std::size_t* bytes, DeviceHandle device);
  Result (*cuDevicePrimaryCtxRetain)(ContextHandle* context, DeviceHandle device);
  Result (*cuCtxGetCurrent)(ContextHandle* context);
  Result (*cuCtxSetCurrent)(ContextHandle context);

  Result (*cuLibraryLoadData)(LibraryHandle* library, const void* code, int* jit_options, void** jit_values,
                              unsigned jit_count, int* library_options, void** library_values,
                              unsigned library_count);
  Result (*cuLibraryUnload)(LibraryHandle library);
  Result (*cuLibraryGetKernel)(KernelHandle* kernel, LibraryHandle library, const char* name);
  Result (*cuKernelGetFunction)(FunctionHandle* function, KernelHandle kernel);
  Result (*cuFuncGetAttribute)(int* value, FunctionAttribute attribute, FunctionHandle function);
  Result (*cuFuncSetAttribute)(FunctionHandle function, FunctionAttribute attribute, int value);
  // Since CUDA 12.4; null before.
  Result (*cuFuncGetParamInfo)(FunctionHandle function, std::size_t index, std::size_t* offset,
                               std::size_t* bytes);
  Result (*cuOccupancyMaxActiveBlocksPerMultiprocessor)(int* blocks, FunctionHandle function, int threads,
                                                        std::size_t shared_bytes);
  Result (*cuLaunchKernelEx)(const LaunchRequest* request, FunctionHandle function, void** params,
                             void** extra);
  Result (*cuTensorMapEncodeTiled)(TensorMap* map, TensorMapType type, std::uint32_t rank, void* address,
                                   const std::uint64_t* sizes, const std::uint64_t* strides_bytes,
                                   const std::uint32_t* box, const std::uint32_t* element_strides,
                                   TensorMapInterleave interleave, TensorMapSwizzle swizzle,
                                   TensorMapL2Promotion promotion, TensorMapFill fill);

  Result (*cuStreamCreate)(StreamHandle* stream, unsigned flags);
  Result (*cuStreamDestroy_v2)(StreamHandle stream);
  Result (*cuStreamSynchronize)(StreamHandle stream);
  Result (*cuStreamIsCapturing)(StreamHandle stream, CaptureStatus* status);
  Result (*cuStreamBeginCapture_v2)(StreamHandle stream, CaptureMode mode);
  Result (*cuStreamEndCapture)(StreamHandle stream, GraphHandle* graph);
  Result (*cuThreadExchangeStreamCaptureMode)(CaptureMode* mode);
  Result (*cuGraphInstantiateWithFlags)(GraphExecHandle* exec, GraphHandle graph, unsigned long long flags);
  Result (*cuGraphLaunch)(GraphExecHandle exec, StreamHandle stream);
  Result (*cuGraphExecDestroy)(GraphExecHandle exec);
  Result (*cuGraphDestroy)(GraphHandle graph);

  Result (*cuEventCreate)(EventHandle* event, unsigned flags);
  Result (*cuEventDestroy_v2)(EventHandle event);
  Result (*cuEventRecord)(EventHandle event, StreamHandle stream);
  Result (*cuStreamWaitEvent)(StreamHandle stream, EventHandle event, unsigned flags);
  Result (*cuEventQuery)(EventHandle event);
  Result (*cuEventSynchronize)(EventHandle event);
  Result (*cuEventElapsedTime)(float* milliseconds, EventHandle start, EventHandle end);

  Result (*cuMemAlloc_v2)(DevicePointer* pointer, std::size_t bytes);
  Result (*cuMemFree_v2)(DevicePointer pointer);
  Result (*cuMemGetInfo_v2)(std::size_t* free, std::size_t* total);
  Result (*cuMemHostAlloc)(void** pointer, std::size_t bytes, unsigned flags);
  Result (*cuMemFreeHost)(void* pointer);
  Result (*cuMemcpyHtoDAsync_v2)(DevicePointer to, const void* from, std::size_t bytes, StreamHandle stream);
  Result (*cuMemcpyDtoHAsync_v2)(void* to, DevicePointer from, std::size_t bytes, StreamHandle stream);
  Result (*cuMemcpyDtoDAsync_v2)(DevicePointer to, DevicePointer from, std::size_t bytes,
                                 StreamHandle stream);
  Result (*cuMemsetD8Async)(DevicePointer to, unsigned char value, std::size_t bytes, StreamHandle stream);
  Result (*cuPointerGetAttribute)(void* value, PointerAttribute attribute, DevicePointer pointer);
};

}  // namespace strobe::cuda
