#include "memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>

#include "device.h"
#include "stream.h"

namespace emulated {
namespace {

using namespace strobe::cuda;

constexpr std::size_t kAlignment = 256;     // what cuMemAlloc promises
constexpr unsigned char kUnwritten = 0xcb;  // a negative float of no plausible size

std::mutex mutex;
std::map<std::uintptr_t, Allocation> allocations;  // by their end
std::map<std::uintptr_t, std::size_t>
    pinned;  // host memory that copies read when their turn comes: its bytes
std::size_t used = 0;

std::size_t rounded(std::size_t bytes, std::size_t to) { return (bytes + to - 1) / to * to; }

void* map_pages(std::size_t bytes, int protection) {
  void* pages = ::mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return pages == MAP_FAILED ? nullptr : pages;
}

// So that the last byte that the alignment allows is the last of a page, and what follows cannot be touched.
bool map_allocation(Allocation& allocation, std::size_t bytes) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t aligned = rounded(bytes, kAlignment), usable = rounded(aligned, page);
  auto* pages = static_cast<char*>(map_pages(usable + 2 * page, PROT_NONE));
  if (pages == nullptr) return false;
  ::mprotect(pages + page, usable, PROT_READ | PROT_WRITE);
  std::memset(pages + page, kUnwritten, usable);
  allocation.begin = reinterpret_cast<std::uintptr_t>(pages + page + usable - aligned);
  allocation.end = allocation.begin + bytes;
  allocation.cells = static_cast<Cell*>(map_pages(bytes * sizeof(Cell), PROT_READ | PROT_WRITE));
  return allocation.cells != nullptr;
}

// Whether all of the range lies in one allocation.
bool is_device_range(std::uintptr_t address, std::size_t bytes) {
  const Allocation* allocation = find_allocation(address);
  return bytes == 0 || (allocation != nullptr && bytes <= allocation->end - address);
}

bool is_pinned(const void* host) {
  const std::lock_guard lock(mutex);
  const auto address = reinterpret_cast<std::uintptr_t>(host);
  const auto after = pinned.upper_bound(address);
  return after != pinned.begin() && address - std::prev(after)->first < std::prev(after)->second;
}

}  // namespace

const Allocation* find_allocation(std::uintptr_t address) {
  const std::lock_guard lock(mutex);
  const auto place = allocations.upper_bound(address);
  return place != allocations.end() && address >= place->second.begin ? &place->second : nullptr;
}

std::string describe_address(std::uintptr_t address) {
  const std::lock_guard lock(mutex);
  char text[128];
  std::snprintf(text, sizeof text, "at 0x%zx, where there is no device memory",
                static_cast<std::size_t>(address));
  constexpr std::uintptr_t kNear = 1 << 20;
  const Allocation* last = nullptr;
  for (const auto& [end, allocation] : allocations)
    if (allocation.begin <= address && address - allocation.begin < kNear + (end - allocation.begin))
      last = &allocation;
  if (last != nullptr)
    std::snprintf(text, sizeof text, "%zu bytes behind the beginning of an allocation of %zu bytes",
                  static_cast<std::size_t>(address - last->begin),
                  static_cast<std::size_t>(last->end - last->begin));
  return text;
}

}  // namespace emulated

using namespace emulated;

EXPORT Result cuMemAlloc_v2(DevicePointer* pointer, std::size_t bytes) {
  if (const Result result = need_context(); result != kSuccess) return result;
  if (const Result result = unsafe_in_capture(); result != kSuccess) return result;
  if (bytes == 0) return kInvalidValue;
  const std::lock_guard lock(mutex);
  if (bytes > kMemoryBytes - used) return kErrorOutOfMemory;
  Allocation allocation{.device = current_context()->device};
  if (!map_allocation(allocation, bytes)) return kErrorOutOfMemory;
  used += bytes;
  allocations[allocation.end] = allocation;
  *pointer = allocation.begin;
  return kSuccess;
}
EXPORT Result cuMemFree_v2(DevicePointer pointer) {
  if (const Result result = need_context(); result != kSuccess) return result;
  if (const Result result = unsafe_in_capture(); result != kSuccess) return result;
  if (pointer == 0) return kSuccess;
  if (const Result result = finish_all(); result != kSuccess) return result;
  const std::lock_guard lock(mutex);
  const auto place = allocations.upper_bound(pointer);
  if (place == allocations.end() || place->second.begin != pointer) return kInvalidValue;
  // The address is not used again: who still has it is found out.
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const std::uintptr_t begin = pointer / page * page, end = rounded(place->first, page);
  const std::size_t bytes = place->first - pointer;
  ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  ::mprotect(reinterpret_cast<void*>(begin), end - begin, PROT_NONE);
  ::munmap(place->second.cells, bytes * sizeof(Cell));
  used -= bytes;
  allocations.erase(place);
  return kSuccess;
}
EXPORT Result cuMemGetInfo_v2(std::size_t* free, std::size_t* total) {
  if (const Result result = need_context(); result != kSuccess) return result;
  const std::lock_guard lock(mutex);
  *free = kMemoryBytes - used;
  *total = kMemoryBytes;
  return kSuccess;
}
EXPORT Result cuMemHostAlloc(void** pointer, std::size_t bytes, unsigned flags) {
  if (const Result result = need_context(); result != kSuccess) return result;
  if (const Result result = unsafe_in_capture(); result != kSuccess) return result;
  if (bytes == 0 || flags != 0) return kInvalidValue;
  void* memory = std::malloc(bytes);
  if (memory == nullptr) return kErrorOutOfMemory;
  std::memset(memory, kUnwritten, bytes);
  const std::lock_guard lock(mutex);
  pinned[reinterpret_cast<std::uintptr_t>(memory)] = bytes;
  *pointer = memory;
  return kSuccess;
}
EXPORT Result cuMemFreeHost(void* pointer) {
  if (const Result result = need_context(); result != kSuccess) return result;
  if (const Result result = finish_all(); result != kSuccess) return result;
  const std::lock_guard lock(mutex);
  if (pinned.erase(reinterpret_cast<std::uintptr_t>(pointer)) == 0) return kInvalidValue;
  std::free(pointer);
  return kSuccess;
}
// Pageable memory a driver has read when this returns; pinned memory it reads when the copy's turn comes.
EXPORT Result cuMemcpyHtoDAsync_v2(DevicePointer to, const void* from, std::size_t bytes,
                                   StreamHandle stream) {
  if (!is_device_range(to, bytes)) return kInvalidValue;
  if (is_pinned(from))
    return enqueue(stream, [to, from, bytes] {
      std::memcpy(reinterpret_cast<void*>(to), from, bytes);
      return kSuccess;
    });
  return enqueue(stream, [to, text = std::string(static_cast<const char*>(from), bytes)] {
    if (!text.empty()) std::memcpy(reinterpret_cast<void*>(to), text.data(), text.size());
    return kSuccess;
  });
}
EXPORT Result cuMemcpyDtoHAsync_v2(void* to, DevicePointer from, std::size_t bytes, StreamHandle stream) {
  if (!is_device_range(from, bytes)) return kInvalidValue;
  return enqueue(stream, [to, from, bytes] {
    if (bytes > 0) std::memcpy(to, reinterpret_cast<const void*>(from), bytes);
    return kSuccess;
  });
}
EXPORT Result cuMemcpyDtoDAsync_v2(DevicePointer to, DevicePointer from, std::size_t bytes,
                                   StreamHandle stream) {
  if (!is_device_range(to, bytes) || !is_device_range(from, bytes)) return kInvalidValue;
  return enqueue(stream, [to, from, bytes] {
    if (bytes > 0) std::memmove(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
    return kSuccess;
  });
}
EXPORT Result cuMemsetD8Async(DevicePointer to, unsigned char value, std::size_t bytes, StreamHandle stream) {
  if (!is_device_range(to, bytes)) return kInvalidValue;
  return enqueue(stream, [to, value, bytes] {
    if (bytes > 0) std::memset(reinterpret_cast<void*>(to), value, bytes);
    return kSuccess;
  });
}
EXPORT Result cuPointerGetAttribute(void* value, PointerAttribute attribute, DevicePointer pointer) {
  const Allocation* allocation = find_allocation(pointer);
  if (attribute != kPointerDeviceOrdinal || allocation == nullptr) return kInvalidValue;
  *static_cast<int*>(value) = allocation->device;
  return kSuccess;
}
