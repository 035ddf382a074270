#include "cuda/event.h"

#include "cuda/capture.h"
#include "cuda/device.h"
#include "cuda/driver.h"

namespace strobe::cuda {

Event::Event(Device device) : ordinal_(device.index) {
  const ContextGuard context(ordinal_);
  check(driver().cuEventCreate(&handle_, 0), "cuEventCreate");
}

Event::~Event() { driver().cuEventDestroy_v2(handle_); }

void Event::record(Stream stream) {
  const ContextGuard context(ordinal_);
  check(driver().cuEventRecord(handle_, handle_of(stream)), "cuEventRecord");
}

bool Event::done() const {
  const Result result = driver().cuEventQuery(handle_);
  if (result == kErrorNotReady) return false;
  check(result, "cuEventQuery");
  return true;
}

void Event::wait() const { check(driver().cuEventSynchronize(handle_), "cuEventSynchronize"); }

void Event::hold(Stream stream) const {
  const ContextGuard context(ordinal_);
  check(driver().cuStreamWaitEvent(handle_of(stream), handle_, 0), "cuStreamWaitEvent");
}

double milliseconds_between(const Event& start, const Event& end) {
  const ContextGuard context(start.ordinal_);
  float milliseconds = 0;
  check(driver().cuEventElapsedTime(&milliseconds, start.handle_, end.handle_), "cuEventElapsedTime");
  return milliseconds;
}

}  // namespace strobe::cuda
