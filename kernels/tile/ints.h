// Integers of known width, for device code (NVRTC has no <cstdint>) and for the host that shares its structs.
#pragma once

#ifdef __CUDACC_RTC__
using int32_t = int;
using uint32_t = unsigned int;
using int64_t = long long;
using uint64_t = unsigned long long;
#define STROBE_DEVICE __device__ __forceinline__
#else
#include <cstdint>
#define STROBE_DEVICE inline
#endif
