// A GPU under measurement: the stream that calls run on, its clock, and what its memory can do at most.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/gpu/kernel_recorder.h"
#include "bench/gpu/matrix_product.h"
#include "bench/limits.h"
#include "bench/measure.h"
#include "cuda/device_buffer.h"
#include "cuda/event.h"

namespace strobe::bench {

// What results say about a GPU.
struct GpuFacts {
  std::string device;  // "cuda:0"
  std::string name;
  std::string architecture;  // "sm_90a"
  int sm_count = 0;
  std::int64_t memory_bytes = 0, l2_bytes = 0;
  std::string driver;          // the CUDA version of the driver: "12.4"
  std::string no_matrix_peak;  // why products of matrices are not measured; empty when they are
};

class GpuProbe {
 public:
  // Takes memory of 8 second-level caches. Throws what cuda::architecture_of does.
  explicit GpuProbe(Device device);

  Device device() const { return device_; }
  Stream stream() const { return stream_; }
  const GpuFacts& facts() const { return facts_; }

  // Reading memory and copying it (the device's own copy, read plus written): the best of a few passes.
  // Products of matrices have the best rate that measure_limits has seen; FMAs are not measured.
  LimitRates measure() const;
  // Best and median of more of them, for the run; and products of matrices in bf16 and e4m3.
  Limits measure_limits();

  // Enqueues reads of a little memory again and again, some tens of microseconds, so that the host is ahead
  // of the GPU when what is measured begins, and launches do not show in its time. Leaves the caches to it.
  void keep_busy() const;
  // Walks through so much other memory, which pushes everything else out of the caches.
  void evict(std::int64_t bytes) const;

 private:
  void read(std::int64_t bytes, int passes) const;
  void copy() const;
  template <class F>
  double seconds(F enqueue) const;
  std::vector<double> matrix_gflops(Dtype dtype) const;

  Device device_;
  GpuFacts facts_;
  std::int64_t read_bytes_;
  cuda::OwnedStream stream_;
  cuda::DeviceBuffer memory_, sink_;
  MatrixProducts products_;
  LimitRates matrix_best_;
};

// From the begin of the first kernel to the end of the last.
class CuptiTimer : public Timer {
 public:
  explicit CuptiTimer(const GpuProbe& probe) : probe_(probe) {}
  void start() override;
  double stop() override;

 private:
  const GpuProbe& probe_;
  KernelRecorder recorder_;
};

// Device time by events, over the number of calls between them.
class EventTimer : public Timer {
 public:
  EventTimer(const GpuProbe& probe, int calls)
      : probe_(probe), calls_(calls), start_(probe.device()), end_(probe.device()) {}
  void start() override;
  double stop() override;

 private:
  const GpuProbe& probe_;
  int calls_;
  cuda::Event start_, end_;
};

}  // namespace strobe::bench
