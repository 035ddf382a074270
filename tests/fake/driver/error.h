// Results of the emulated driver.
#pragma once

#include <string>

#include "cuda/driver_api.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace emulated {

using strobe::cuda::kErrorNotReady;
using strobe::cuda::kErrorOutOfMemory;
using strobe::cuda::kSuccess;
using strobe::cuda::Result;

// CUresult, by the driver API reference.
inline constexpr Result kInvalidValue = 1, kNoDevice = 100, kInvalidDevice = 101, kInvalidImage = 200,
                        kInvalidContext = 201, kNoBinary = 209, kInvalidHandle = 400, kNotFound = 500,
                        kIllegalAddress = 700, kOutOfResources = 701, kMisalignedAddress = 716,
                        kLaunchFailed = 719, kNotSupported = 801, kNotReady = 802, kCaptureUnsupported = 900,
                        kSpoiltCapture = 901, kCaptureImplicit = 906, kInvalidClusterSize = 912;

// A kernel has done what it may not, or a call is one that the emulation lacks: cuGetErrorString adds the
// text to the result's own. Returns `result`.
Result explain(Result result, const std::string& text);

// After a kernel has failed, every call of the process fails with its result, as the contexts are lost.
void lose_context(Result result, const std::string& text);
Result lost();

}  // namespace emulated
