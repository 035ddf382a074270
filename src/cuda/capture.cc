#include "cuda/capture.h"

#include "cuda/device.h"
#include "cuda/driver.h"

namespace strobe::cuda {

bool is_capturing(Device device, Stream stream) {
  if (stream.handle == nullptr) return false;  // the default stream cannot be captured
  const ContextGuard context(device.index);
  CaptureStatus status = kCaptureNone;
  check(driver().cuStreamIsCapturing(handle_of(stream), &status), "cuStreamIsCapturing");
  return status != kCaptureNone;
}

RelaxedCapture::RelaxedCapture() {
  check(driver().cuThreadExchangeStreamCaptureMode(&mode_), "cuThreadExchangeStreamCaptureMode");
}

RelaxedCapture::~RelaxedCapture() { driver().cuThreadExchangeStreamCaptureMode(&mode_); }

}  // namespace strobe::cuda
