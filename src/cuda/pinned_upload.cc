#include "cuda/pinned_upload.h"

#include <cstdlib>
#include <utility>

#include "core/message.h"
#include "cuda/capture.h"
#include "cuda/device.h"
#include "cuda/driver.h"
#include "cuda/rehearsal.h"

namespace strobe::cuda {
namespace {

// A plan that grows step by step does not allocate at every step.
std::size_t with_room(std::size_t bytes) { return bytes + bytes / 2; }

}  // namespace

// The copies read the memory that goes now.
PinnedUpload::~PinnedUpload() {
  for (Staging& staging : stagings_) try {
      if (staging.sent != nullptr) staging.sent->wait();
    } catch (const Error&) {
      // The driver has ended before us, and the copies with it.
    }
}

void FreePinned::operator()(std::byte* memory) const {
  if (!pinned) return std::free(memory);
  const ContextGuard context(ordinal);
  driver().cuMemFreeHost(memory);
}

std::byte* PinnedUpload::begin(Device device, std::size_t bytes, bool may_move) {
  if (device != device_) {
    if (device_.type == DeviceType::kCuda && !may_move) return nullptr;
    const PinnedUpload former = std::move(*this);
    device_ = device;
  }
  turn_ ^= 1;
  bytes_ = bytes;
  Staging& staging = stagings_[turn_];
  if (rehearsal() == nullptr) {
    const RelaxedCapture relaxed;
    if (staging.sent != nullptr && !staging.sent->done()) staging.sent->wait();
    if (bytes > buffer_.bytes()) {
      if (buffer_.bytes() > 0 && !may_move) return nullptr;
      buffer_ = {};
      buffer_ = DeviceBuffer(device, may_move ? with_room(bytes) : bytes);
    }
  }
  if (bytes > staging.bytes) {
    staging.memory.reset();
    staging.bytes = 0;
    void* memory = nullptr;
    const bool pinned = rehearsal() == nullptr;
    if (pinned) {
      const RelaxedCapture relaxed;
      const ContextGuard context(device.index);
      check(driver().cuMemHostAlloc(&memory, with_room(bytes), 0), "cuMemHostAlloc");
    } else {
      memory = std::malloc(with_room(bytes));
    }
    staging.memory = {static_cast<std::byte*>(memory), FreePinned{device.index, pinned}};
    staging.bytes = with_room(bytes);
  }
  return staging.memory.get();
}

void PinnedUpload::send(Stream stream) {
  if (rehearsal() != nullptr) return;
  Staging& staging = stagings_[turn_];
  const ContextGuard context(device_.index);
  check(driver().cuMemcpyHtoDAsync_v2(reinterpret_cast<DevicePointer>(buffer_.data()), staging.memory.get(),
                                      bytes_, handle_of(stream)),
        "cuMemcpyHtoDAsync");
  if (staging.sent == nullptr) staging.sent = std::make_unique<Event>(device_);
  staging.sent->record(stream);
}

}  // namespace strobe::cuda
