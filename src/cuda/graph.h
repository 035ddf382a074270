// CUDA graphs: work recorded from a stream once, and enqueued again at the cost of one call.
#pragma once

#include "cuda/driver_api.h"
#include "strobe/device.h"

namespace strobe::cuda {

class Graph {
 public:
  // What `record` enqueues on the stream (not the default one) of that device; nothing of it runs.
  template <class F>
  Graph(Device device, Stream stream, F record) : Graph(device) {
    begin(stream);
    try {
      record();
    } catch (...) {
      abandon(stream);
      throw;
    }
    end(stream);
  }
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  void launch(Stream stream) const;

 private:
  explicit Graph(Device device) : ordinal_(device.index) {}
  void begin(Stream stream);
  void end(Stream stream);
  void abandon(Stream stream) noexcept;

  int ordinal_;
  GraphExecHandle handle_ = nullptr;
};

}  // namespace strobe::cuda
