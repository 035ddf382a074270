// Host data on its way to a device: written into pinned memory, sent by one asynchronous copy.
#pragma once

#include <array>
#include <cstddef>
#include <memory>

#include "cuda/device_buffer.h"
#include "cuda/event.h"

namespace strobe::cuda {

struct FreePinned {
  int ordinal = 0;
  bool pinned = true;  // in a rehearsal it is not
  void operator()(std::byte* memory) const;
};

// Two pinned buffers take turns, so that the next contents can be written while the last are still under way.
// The device has one buffer: a copy is ordered behind the kernels that still read it when all run on one
// stream.
class PinnedUpload {
 public:
  PinnedUpload() = default;
  ~PinnedUpload();
  PinnedUpload(PinnedUpload&&) noexcept = default;
  PinnedUpload& operator=(PinnedUpload&&) noexcept = default;

  // Memory for `bytes`, to be written before `send`. Waits only when the copy before the last has not been
  // made yet. `may_move`: whether the device's buffer may be replaced by a larger one; where it would have
  // to and may not, the result is null.
  std::byte* begin(Device device, std::size_t bytes, bool may_move);
  // Enqueues the copy of what `begin` gave.
  void send(Stream stream);

  // Where the contents lie on the device.
  char* device_data() const { return static_cast<char*>(buffer_.data()); }

 private:
  struct Staging {
    std::unique_ptr<std::byte, FreePinned> memory;
    std::size_t bytes = 0;
    std::unique_ptr<Event> sent = nullptr;  // null: never sent
  };

  Device device_;
  DeviceBuffer buffer_;
  std::array<Staging, 2> stagings_;
  std::size_t turn_ = 0, bytes_ = 0;
};

}  // namespace strobe::cuda
