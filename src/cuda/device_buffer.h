// Device memory and streams for tests, benchmarks and replay; operators allocate nothing.
#pragma once

#include <cstddef>
#include <span>

#include "cuda/driver_api.h"
#include "strobe/device.h"

namespace strobe::cuda {

class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  // At least one byte is allocated. Throws Error(kOutOfMemory) that says how much was asked for and how much
  // is free.
  DeviceBuffer(Device device, std::size_t bytes);
  ~DeviceBuffer();
  DeviceBuffer(DeviceBuffer&& other) noexcept;
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept;

  void* data() const { return reinterpret_cast<void*>(pointer_); }
  std::size_t bytes() const { return bytes_; }
  Device device() const { return device_; }

  // Copies between `offset` of the buffer and host memory; the copy is complete when they return.
  void upload(std::span<const std::byte> from, std::size_t offset = 0);
  void download(std::span<std::byte> to, std::size_t offset = 0) const;
  void fill(unsigned char value);

 private:
  void check_range(std::size_t offset, std::size_t bytes) const;
  Device device_;
  std::size_t bytes_ = 0;
  DevicePointer pointer_ = 0;
};

class OwnedStream {
 public:
  explicit OwnedStream(Device device);
  ~OwnedStream();
  OwnedStream(const OwnedStream&) = delete;
  OwnedStream& operator=(const OwnedStream&) = delete;

  operator Stream() const { return {handle_}; }  // NOLINT: it is one
  void synchronize() const;

 private:
  int ordinal_;
  StreamHandle handle_ = nullptr;
};

// Waits for everything enqueued on the stream.
void synchronize(Device device, Stream stream);

// The bytes free on the device.
std::size_t free_memory(Device device);

}  // namespace strobe::cuda
