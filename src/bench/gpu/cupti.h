// The part of CUPTI's activity interface that the benchmark calls, in declarations of our own: NVIDIA's
// documented ABI (CUPTI manual); tests/driver_abi_test.cc holds them against cupti.h where there is one.
#pragma once

#include <cstddef>
#include <cstdint>

namespace strobe::bench::cupti {

using Result = int;  // CUptiResult
inline constexpr Result kSuccess = 0;

enum ActivityKind : std::uint32_t { kMemcpy = 1, kMemset = 2, kConcurrentKernel = 10 };  // CUpti_ActivityKind

// The beginning that all versions of CUpti_ActivityKernel since CUDA 8 share. Those of copies and fills have
// `start` and `end` at the same places. Records are aligned to 8 bytes.
struct KernelRecord {
  ActivityKind kind;
  std::uint8_t cache_config, shared_config;
  std::uint16_t registers;
  std::uint32_t partitioned_cache[2];
  std::uint64_t start, end;  // nanoseconds of the GPU's clock; both 0: not known
};

using BufferRequested = void (*)(std::uint8_t** buffer, std::size_t* bytes, std::size_t* most_records);
using BufferCompleted = void (*)(void* context, std::uint32_t stream, std::uint8_t* buffer, std::size_t bytes,
                                 std::size_t valid_bytes);

// The entry points, by the names that the library exports.
struct Api {
  Result (*cuptiActivityRegisterCallbacks)(BufferRequested requested, BufferCompleted completed);
  Result (*cuptiActivityEnable)(ActivityKind kind);
  Result (*cuptiActivityDisable)(ActivityKind kind);
  Result (*cuptiActivityFlushAll)(std::uint32_t flags);
  Result (*cuptiActivityGetNextRecord)(std::uint8_t* buffer, std::size_t valid_bytes, KernelRecord** record);
  Result (*cuptiGetResultString)(Result result, const char** text);
};

}  // namespace strobe::bench::cupti
