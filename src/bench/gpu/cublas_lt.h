// The part of cuBLASLt that the benchmark calls, in declarations of our own: NVIDIA's documented ABI (cuBLAS
// library manual); tests/driver_abi_test.cc holds them against cublasLt.h where there is one.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/driver_api.h"

namespace strobe::bench::cublas_lt {

using Status = int;  // cublasStatus_t
inline constexpr Status kSuccess = 0;

using Handle = struct HandleObject*;          // cublasLtHandle_t
using MatmulDesc = struct MatmulDescObject*;  // cublasLtMatmulDesc_t
using Layout = struct LayoutObject*;          // cublasLtMatrixLayout_t
using Preference = struct PreferenceObject*;  // cublasLtMatmulPreference_t

enum ElementType : int { kF32 = 0, kBf16 = 14, kE4m3 = 28 };  // cudaDataType_t
enum ComputeType : int { kComputeF32 = 68 };                  // cublasComputeType_t
enum DescAttribute : int { kTransA = 3 };                     // cublasLtMatmulDescAttributes_t
enum PreferenceAttribute : int { kMaxWorkspaceBytes = 1 };    // cublasLtMatmulPreferenceAttributes_t
inline constexpr std::int32_t kTransposed = 1;                // CUBLAS_OP_T

struct Algorithm {  // cublasLtMatmulAlgo_t
  std::uint64_t data[8];
};

struct Heuristic {  // cublasLtMatmulHeuristicResult_t
  Algorithm algorithm;
  std::size_t workspace_bytes;
  Status state;
  float waves;
  int reserved[4];
};

// The entry points, by the names that the library exports.
struct Api {
  Status (*cublasLtCreate)(Handle* handle);
  Status (*cublasLtDestroy)(Handle handle);
  Status (*cublasLtMatmulDescCreate)(MatmulDesc* desc, ComputeType compute, ElementType scale);
  Status (*cublasLtMatmulDescDestroy)(MatmulDesc desc);
  Status (*cublasLtMatmulDescSetAttribute)(MatmulDesc desc, DescAttribute attribute, const void* value,
                                           std::size_t bytes);
  Status (*cublasLtMatrixLayoutCreate)(Layout* layout, ElementType type, std::uint64_t rows,
                                       std::uint64_t columns, std::int64_t leading);
  Status (*cublasLtMatrixLayoutDestroy)(Layout layout);
  Status (*cublasLtMatmulPreferenceCreate)(Preference* preference);
  Status (*cublasLtMatmulPreferenceDestroy)(Preference preference);
  Status (*cublasLtMatmulPreferenceSetAttribute)(Preference preference, PreferenceAttribute attribute,
                                                 const void* value, std::size_t bytes);
  Status (*cublasLtMatmulAlgoGetHeuristic)(Handle handle, MatmulDesc desc, Layout a, Layout b, Layout c,
                                           Layout d, Preference preference, int most, Heuristic* results,
                                           int* found);
  Status (*cublasLtMatmul)(Handle handle, MatmulDesc desc, const void* alpha, const void* a, Layout a_layout,
                           const void* b, Layout b_layout, const void* beta, const void* c, Layout c_layout,
                           void* d, Layout d_layout, const Algorithm* algorithm, void* workspace,
                           std::size_t workspace_bytes, cuda::StreamHandle stream);
};

}  // namespace strobe::bench::cublas_lt
