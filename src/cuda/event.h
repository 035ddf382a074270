// Points in time of a stream.
#pragma once

#include "cuda/driver_api.h"
#include "strobe/device.h"

namespace strobe::cuda {

class Event {
 public:
  explicit Event(Device device);
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(Stream stream);
  bool done() const;
  void wait() const;  // blocks the calling thread
  // What is enqueued on the stream from now on begins after this point.
  void hold(Stream stream) const;

 private:
  friend double milliseconds_between(const Event& start, const Event& end);
  int ordinal_;
  EventHandle handle_ = nullptr;
};

// Device time from `start` to `end`, of one device; both must be done.
double milliseconds_between(const Event& start, const Event& end);

}  // namespace strobe::cuda
