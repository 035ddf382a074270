// Stream capture: what is being recorded into a CUDA graph.
#pragma once

#include "cuda/driver_api.h"
#include "strobe/device.h"

namespace strobe::cuda {

inline StreamHandle handle_of(Stream stream) { return static_cast<StreamHandle>(stream.handle); }

// Whether work enqueued on the stream of that device is being recorded rather than run.
bool is_capturing(Device device, Stream stream);

// Lets the calling thread make driver calls that a capture in this process would otherwise forbid and be
// spoilt by (loading code, allocating memory), as none of them is to be recorded.
class RelaxedCapture {
 public:
  RelaxedCapture();
  ~RelaxedCapture();
  RelaxedCapture(const RelaxedCapture&) = delete;
  RelaxedCapture& operator=(const RelaxedCapture&) = delete;

 private:
  CaptureMode mode_ = kCaptureRelaxed;  // the thread's mode while this lives, then its former one
};

}  // namespace strobe::cuda
