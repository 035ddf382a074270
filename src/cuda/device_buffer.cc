#include "cuda/device_buffer.h"

#include <algorithm>
#include <utility>

#include "core/message.h"
#include "cuda/capture.h"
#include "cuda/device.h"
#include "cuda/driver.h"

namespace strobe::cuda {
namespace {

constexpr unsigned kNonBlocking = 1;  // CU_STREAM_NON_BLOCKING: does not wait for the legacy default stream

}  // namespace

DeviceBuffer::DeviceBuffer(Device device, std::size_t bytes) : device_(device), bytes_(bytes) {
  const ContextGuard context(device.index);
  try {
    check(driver().cuMemAlloc_v2(&pointer_, std::max<std::size_t>(bytes, 1)), "cuMemAlloc");
  } catch (const Error& error) {
    fail(error.kind(), "{} bytes on {} ({} bytes are free): {}", bytes, to_string(device),
         free_memory(device), error.what());
  }
}

DeviceBuffer::~DeviceBuffer() {
  if (pointer_ == 0) return;
  const ContextGuard context(device_.index);
  driver().cuMemFree_v2(pointer_);
}

DeviceBuffer::DeviceBuffer(DeviceBuffer&& other) noexcept
    : device_(other.device_),
      bytes_(std::exchange(other.bytes_, 0)),
      pointer_(std::exchange(other.pointer_, 0)) {}

DeviceBuffer& DeviceBuffer::operator=(DeviceBuffer&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(bytes_, other.bytes_);
  std::swap(pointer_, other.pointer_);
  return *this;
}

void DeviceBuffer::check_range(std::size_t offset, std::size_t bytes) const {
  if (offset > bytes_ || bytes > bytes_ - offset)
    fail(ErrorKind::kInvalidArgument, "device buffer of {} bytes: bytes {} to {} are outside", bytes_, offset,
         offset + bytes);
}

void DeviceBuffer::upload(std::span<const std::byte> from, std::size_t offset) {
  check_range(offset, from.size());
  const ContextGuard context(device_.index);
  check(driver().cuMemcpyHtoDAsync_v2(pointer_ + offset, from.data(), from.size(), nullptr),
        "cuMemcpyHtoDAsync");
  check(driver().cuStreamSynchronize(nullptr), "cuStreamSynchronize");
}

void DeviceBuffer::download(std::span<std::byte> to, std::size_t offset) const {
  check_range(offset, to.size());
  const ContextGuard context(device_.index);
  check(driver().cuMemcpyDtoHAsync_v2(to.data(), pointer_ + offset, to.size(), nullptr), "cuMemcpyDtoHAsync");
  check(driver().cuStreamSynchronize(nullptr), "cuStreamSynchronize");
}

void DeviceBuffer::fill(unsigned char value) {
  const ContextGuard context(device_.index);
  check(driver().cuMemsetD8Async(pointer_, value, bytes_, nullptr), "cuMemsetD8Async");
  check(driver().cuStreamSynchronize(nullptr), "cuStreamSynchronize");
}

OwnedStream::OwnedStream(Device device) : ordinal_(device.index) {
  const ContextGuard context(ordinal_);
  check(driver().cuStreamCreate(&handle_, kNonBlocking), "cuStreamCreate");
}

OwnedStream::~OwnedStream() { driver().cuStreamDestroy_v2(handle_); }

void OwnedStream::synchronize() const {
  cuda::synchronize({DeviceType::kCuda, static_cast<std::int8_t>(ordinal_)}, *this);
}

void synchronize(Device device, Stream stream) {
  const ContextGuard context(device.index);
  check(driver().cuStreamSynchronize(handle_of(stream)), "cuStreamSynchronize");
}

std::size_t free_memory(Device device) {
  const ContextGuard context(device.index);
  std::size_t free = 0, total = 0;
  check(driver().cuMemGetInfo_v2(&free, &total), "cuMemGetInfo");
  return free;
}

}  // namespace strobe::cuda
