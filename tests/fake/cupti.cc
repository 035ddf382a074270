// A stand-in for libcupti: each flush tells of two kernels that overlap and take 2.5 microseconds together.
// FAKE_CUPTI=silent records none, =busy cannot be enabled.
#include "bench/gpu/cupti.h"

#include <cstdlib>
#include <cstring>
#include <string_view>

using namespace strobe::bench::cupti;

namespace {

constexpr Result kMaxLimitReached = 12, kMultipleSubscribers = 39;

BufferRequested requested = nullptr;
BufferCompleted completed = nullptr;
bool enabled = false;
std::size_t next_record = 0;

bool mode(std::string_view name) {
  const char* value = std::getenv("FAKE_CUPTI");
  return value != nullptr && value == name;
}

constexpr KernelRecord kRecords[] = {{.kind = kConcurrentKernel, .start = 5000, .end = 6000},
                                     {.kind = kConcurrentKernel, .start = 5500, .end = 7500},
                                     {.kind = kConcurrentKernel}};  // of unknown time

}  // namespace

#pragma GCC visibility push(default)
extern "C" {
Result cuptiActivityRegisterCallbacks(BufferRequested give, BufferCompleted take) {
  requested = give;
  completed = take;
  return kSuccess;
}
Result cuptiActivityEnable(ActivityKind kind) {
  if (mode("busy")) return kMultipleSubscribers;
  enabled = kind == kConcurrentKernel;
  return kSuccess;
}
Result cuptiActivityDisable(ActivityKind) {
  enabled = false;
  return kSuccess;
}
Result cuptiActivityFlushAll(std::uint32_t) {
  if (!enabled || mode("silent")) return kSuccess;
  std::uint8_t* buffer = nullptr;
  std::size_t bytes = 0, most = 0;
  requested(&buffer, &bytes, &most);
  if (bytes < sizeof kRecords) return kSuccess;
  std::memcpy(buffer, kRecords, sizeof kRecords);
  next_record = 0;
  completed(nullptr, 0, buffer, bytes, sizeof kRecords);
  return kSuccess;
}
Result cuptiActivityGetNextRecord(std::uint8_t* buffer, std::size_t valid_bytes, KernelRecord** record) {
  if (next_record * sizeof(KernelRecord) >= valid_bytes) return kMaxLimitReached;
  *record = reinterpret_cast<KernelRecord*>(buffer) + next_record++;
  return kSuccess;
}
Result cuptiGetResultString(Result result, const char** text) {
  *text = result == kMultipleSubscribers ? "CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED" : "CUPTI_ERROR";
  return kSuccess;
}
}  // extern "C"
#pragma GCC visibility pop
