// Our declarations of the driver's and NVRTC's interface against NVIDIA's own headers; built where they are.
#include <cublasLt.h>
#include <cuda.h>
#include <cupti.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>

#include "bench/gpu/cublas_lt.h"
#include "bench/gpu/cupti.h"
#include "cuda/driver_api.h"

namespace strobe::cuda {
namespace {

static_assert(sizeof(LaunchRequest) == sizeof(CUlaunchConfig));
static_assert(offsetof(LaunchRequest, shared_bytes) == offsetof(CUlaunchConfig, sharedMemBytes));
static_assert(offsetof(LaunchRequest, stream) == offsetof(CUlaunchConfig, hStream));
static_assert(offsetof(LaunchRequest, attributes) == offsetof(CUlaunchConfig, attrs));
static_assert(offsetof(LaunchRequest, attribute_count) == offsetof(CUlaunchConfig, numAttrs));
static_assert(sizeof(LaunchAttribute) == sizeof(CUlaunchAttribute));
static_assert(offsetof(LaunchAttribute, value) == offsetof(CUlaunchAttribute, value));
static_assert(sizeof(TensorMap) == sizeof(CUtensorMap) && alignof(TensorMap) >= alignof(CUtensorMap));
static_assert(sizeof(DevicePointer) == sizeof(CUdeviceptr) && sizeof(DeviceHandle) == sizeof(CUdevice));
static_assert(sizeof(Result) == sizeof(CUresult));

TEST(DriverAbi, EnumerationsHaveNvidiasValues) {
  EXPECT_EQ(kSuccess, CUDA_SUCCESS);
  EXPECT_EQ(kErrorOutOfMemory, CUDA_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(kErrorNotReady, CUDA_ERROR_NOT_READY);
  EXPECT_EQ(int{kDeviceClockKHz}, CU_DEVICE_ATTRIBUTE_CLOCK_RATE);
  EXPECT_EQ(int{kDeviceSmCount}, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  EXPECT_EQ(int{kDeviceMemoryClockKHz}, CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE);
  EXPECT_EQ(int{kDeviceMemoryBusBits}, CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH);
  EXPECT_EQ(int{kDeviceL2Bytes}, CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
  EXPECT_EQ(int{kDeviceCapabilityMajor}, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
  EXPECT_EQ(int{kDeviceCapabilityMinor}, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  EXPECT_EQ(int{kDeviceCooperativeLaunch}, CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH);
  EXPECT_EQ(int{kDeviceSharedBytesPerBlock}, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
  EXPECT_EQ(int{kFunctionLocalBytes}, CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES);
  EXPECT_EQ(int{kFunctionRegisters}, CU_FUNC_ATTRIBUTE_NUM_REGS);
  EXPECT_EQ(int{kFunctionMaxDynamicSharedBytes}, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
  EXPECT_EQ(int{kFunctionNonPortableCluster}, CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED);
  EXPECT_EQ(int{kPointerDeviceOrdinal}, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL);
  EXPECT_EQ(int{kCaptureActive}, CU_STREAM_CAPTURE_STATUS_ACTIVE);
  EXPECT_EQ(int{kCaptureInvalidated}, CU_STREAM_CAPTURE_STATUS_INVALIDATED);
  EXPECT_EQ(int{kCaptureThreadLocal}, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
  EXPECT_EQ(int{kCaptureRelaxed}, CU_STREAM_CAPTURE_MODE_RELAXED);
  EXPECT_EQ(int{kLaunchCooperative}, CU_LAUNCH_ATTRIBUTE_COOPERATIVE);
  EXPECT_EQ(int{kLaunchClusterDimension}, CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION);
  EXPECT_EQ(int{kLaunchProgrammaticSerialization}, CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION);
}

TEST(DriverAbi, CublasLtIsNvidias) {
  using namespace bench;
  static_assert(sizeof(cublas_lt::Heuristic) == sizeof(cublasLtMatmulHeuristicResult_t));
  static_assert(offsetof(cublas_lt::Heuristic, workspace_bytes) ==
                offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
  static_assert(offsetof(cublas_lt::Heuristic, state) == offsetof(cublasLtMatmulHeuristicResult_t, state));
  static_assert(sizeof(cublas_lt::Algorithm) == sizeof(cublasLtMatmulAlgo_t));
  EXPECT_EQ(int{cublas_lt::kSuccess}, CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(int{cublas_lt::kF32}, CUDA_R_32F);
  EXPECT_EQ(int{cublas_lt::kBf16}, CUDA_R_16BF);
  EXPECT_EQ(int{cublas_lt::kE4m3}, CUDA_R_8F_E4M3);
  EXPECT_EQ(int{cublas_lt::kComputeF32}, CUBLAS_COMPUTE_32F);
  EXPECT_EQ(int{cublas_lt::kTransA}, CUBLASLT_MATMUL_DESC_TRANSA);
  EXPECT_EQ(int{cublas_lt::kTransposed}, CUBLAS_OP_T);
  EXPECT_EQ(int{cublas_lt::kMaxWorkspaceBytes}, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
}

// The fields that we read have kept their places over all versions of the record.
template <class Theirs>
constexpr bool kSameBeginning = offsetof(bench::cupti::KernelRecord, kind) == offsetof(Theirs, kind) &&
                                offsetof(bench::cupti::KernelRecord, start) == offsetof(Theirs, start) &&
                                offsetof(bench::cupti::KernelRecord, end) == offsetof(Theirs, end) &&
                                sizeof(bench::cupti::KernelRecord) <= sizeof(Theirs);

TEST(DriverAbi, CuptiIsNvidias) {
  static_assert(kSameBeginning<CUpti_ActivityKernel4> && kSameBeginning<CUpti_ActivityKernel5>);
  static_assert(kSameBeginning<CUpti_ActivityKernel8> && kSameBeginning<CUpti_ActivityKernel9>);
#if CUPTI_API_VERSION >= 130000
  static_assert(kSameBeginning<CUpti_ActivityKernel10>);
#endif
  EXPECT_EQ(int{bench::cupti::kSuccess}, CUPTI_SUCCESS);
  EXPECT_EQ(int{bench::cupti::kConcurrentKernel}, CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL);
}

TEST(DriverAbi, TensorMapEnumerationsHaveNvidiasValues) {
  EXPECT_EQ(static_cast<int>(TensorMapType::kU8), CU_TENSOR_MAP_DATA_TYPE_UINT8);
  EXPECT_EQ(static_cast<int>(TensorMapType::kU16), CU_TENSOR_MAP_DATA_TYPE_UINT16);
  EXPECT_EQ(static_cast<int>(TensorMapType::kU32), CU_TENSOR_MAP_DATA_TYPE_UINT32);
  EXPECT_EQ(static_cast<int>(TensorMapType::kI32), CU_TENSOR_MAP_DATA_TYPE_INT32);
  EXPECT_EQ(static_cast<int>(TensorMapType::kF16), CU_TENSOR_MAP_DATA_TYPE_FLOAT16);
  EXPECT_EQ(static_cast<int>(TensorMapType::kF32), CU_TENSOR_MAP_DATA_TYPE_FLOAT32);
  EXPECT_EQ(static_cast<int>(TensorMapType::kBf16), CU_TENSOR_MAP_DATA_TYPE_BFLOAT16);
  EXPECT_EQ(static_cast<int>(TensorMapSwizzle::k32Bytes), CU_TENSOR_MAP_SWIZZLE_32B);
  EXPECT_EQ(static_cast<int>(TensorMapSwizzle::k64Bytes), CU_TENSOR_MAP_SWIZZLE_64B);
  EXPECT_EQ(static_cast<int>(TensorMapSwizzle::k128Bytes), CU_TENSOR_MAP_SWIZZLE_128B);
  EXPECT_EQ(static_cast<int>(TensorMapL2Promotion::k256Bytes), CU_TENSOR_MAP_L2_PROMOTION_L2_256B);
  EXPECT_EQ(static_cast<int>(TensorMapInterleave::kNone), CU_TENSOR_MAP_INTERLEAVE_NONE);
  EXPECT_EQ(static_cast<int>(TensorMapFill::kZero), CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
}

TEST(DriverAbi, UnionMembersLieWhereNvidiasDo) {
  LaunchAttribute ours{};
  ours.value.cluster = {2, 3, 4};
  CUlaunchAttribute theirs;
  static_assert(sizeof ours == sizeof theirs);
  std::memcpy(&theirs, &ours, sizeof theirs);
  EXPECT_EQ(theirs.value.clusterDim.x, 2u);
  EXPECT_EQ(theirs.value.clusterDim.z, 4u);
  ours.value.flag = 1;
  std::memcpy(&theirs, &ours, sizeof theirs);
  EXPECT_EQ(theirs.value.programmaticStreamSerializationAllowed, 1);
  EXPECT_EQ(theirs.value.cooperative, 1);
}

}  // namespace
}  // namespace strobe::cuda
