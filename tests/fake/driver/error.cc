#include "error.h"

#include <cstdio>
#include <map>
#include <mutex>

namespace emulated {
namespace {

struct Meaning {
  const char* name;
  const char* text;
};

const std::map<Result, Meaning> kMeanings = {
    {kSuccess, {"CUDA_SUCCESS", "no error"}},
    {kInvalidValue, {"CUDA_ERROR_INVALID_VALUE", "invalid argument"}},
    {kErrorOutOfMemory, {"CUDA_ERROR_OUT_OF_MEMORY", "out of memory"}},
    {kNoDevice, {"CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"}},
    {kInvalidDevice, {"CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"}},
    {kInvalidImage, {"CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"}},
    {kInvalidContext, {"CUDA_ERROR_INVALID_CONTEXT", "invalid device context"}},
    {kNoBinary, {"CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"}},
    {kInvalidHandle, {"CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"}},
    {kNotFound, {"CUDA_ERROR_NOT_FOUND", "named symbol not found"}},
    {kErrorNotReady, {"CUDA_ERROR_NOT_READY", "device not ready"}},
    {kIllegalAddress, {"CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"}},
    {kOutOfResources, {"CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"}},
    {kMisalignedAddress, {"CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"}},
    {kLaunchFailed, {"CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"}},
    {kNotSupported, {"CUDA_ERROR_NOT_SUPPORTED", "operation not supported"}},
    {kNotReady, {"CUDA_ERROR_SYSTEM_NOT_READY", "system not yet initialized"}},
    {kCaptureUnsupported,
     {"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"}},
    {kSpoiltCapture,
     {"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"}},
    {kCaptureImplicit,
     {"CUDA_ERROR_STREAM_CAPTURE_IMPLICIT",
      "operation would make the legacy stream depend on a capturing blocking stream"}},
    {kInvalidClusterSize, {"CUDA_ERROR_INVALID_CLUSTER_SIZE", "invalid cluster size"}},
};

std::mutex mutex;
std::map<Result, std::string> texts;  // with what was explained last
Result lost_result = kSuccess;

}  // namespace

Result explain(Result result, const std::string& text) {
  const std::lock_guard lock(mutex);
  texts[result] = std::string(kMeanings.at(result).text) + ": " + text;
  return result;
}

void lose_context(Result result, const std::string& text) {
  std::fprintf(stderr, "emulated GPU: %s\n", text.c_str());
  explain(result, text);
  const std::lock_guard lock(mutex);
  lost_result = result;
}

Result lost() {
  const std::lock_guard lock(mutex);
  return lost_result;
}

}  // namespace emulated

using namespace emulated;

EXPORT Result cuGetErrorName(Result error, const char** name) {
  const auto meaning = kMeanings.find(error);
  *name = meaning == kMeanings.end() ? nullptr : meaning->second.name;
  return *name == nullptr ? kInvalidValue : kSuccess;
}
EXPORT Result cuGetErrorString(Result error, const char** text) {
  const std::lock_guard lock(mutex);
  const auto meaning = kMeanings.find(error);
  const auto explained = texts.find(error);
  *text = explained != texts.end()     ? explained->second.c_str()
          : meaning != kMeanings.end() ? meaning->second.text
                                       : nullptr;
  return *text == nullptr ? kInvalidValue : kSuccess;
}
