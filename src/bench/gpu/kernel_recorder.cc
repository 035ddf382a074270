#include "bench/gpu/kernel_recorder.h"

#include <dlfcn.h>

#include <cstdlib>
#include <mutex>
#include <utility>

#include "bench/gpu/cupti.h"
#include "core/message.h"
#include "cuda/toolkit.h"

namespace strobe::bench {
namespace {

using namespace cupti;

constexpr const char* kNames[] = {"libcupti.so.13", "libcupti.so.12"};
constexpr std::size_t kBufferBytes = 1 << 20, kBufferAlignment = 8;

// CUPTI is a process's: its callbacks have no argument of ours.
struct Cupti {
  Api api{};
  std::string problem;
  std::mutex mutex;
  std::vector<KernelTime> kernels;

  Cupti() { problem = load(); }

  std::string load() {
    const cuda::ToolkitLibrary library =
        cuda::load_toolkit_library(env::Variable::kCupti, "cuda_cupti", kNames);
    if (library.handle == nullptr) return library.problem;
    const char* missing = nullptr;
    const auto find = [&](auto& function, const char* name) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library.handle, name));
      if (function == nullptr && missing == nullptr) missing = name;
    };
    find(api.cuptiActivityRegisterCallbacks, "cuptiActivityRegisterCallbacks");
    find(api.cuptiActivityEnable, "cuptiActivityEnable");
    find(api.cuptiActivityDisable, "cuptiActivityDisable");
    find(api.cuptiActivityFlushAll, "cuptiActivityFlushAll");
    find(api.cuptiActivityGetNextRecord, "cuptiActivityGetNextRecord");
    find(api.cuptiGetResultString, "cuptiGetResultString");
    return missing == nullptr ? "" : fmt::format("libcupti has no {}", missing);
  }
};

// Never destroyed: a callback may come late.
Cupti& loaded() {
  static Cupti& cupti = *new Cupti;
  return cupti;
}

void check(Result result, const char* call) {
  if (result == kSuccess) return;
  const char* text = nullptr;
  if (loaded().api.cuptiGetResultString(result, &text) != kSuccess || text == nullptr) text = "unknown";
  fail(ErrorKind::kUnsupported, "CUPTI: {}: {} ({})", call, text, result);
}

void give_buffer(std::uint8_t** buffer, std::size_t* bytes, std::size_t* most_records) {
  *buffer = static_cast<std::uint8_t*>(std::aligned_alloc(kBufferAlignment, kBufferBytes));
  *bytes = *buffer == nullptr ? 0 : kBufferBytes;
  *most_records = 0;  // as many as fit
}

bool is_work(ActivityKind kind) { return kind == kConcurrentKernel || kind == kMemcpy || kind == kMemset; }

void read_buffer(void*, std::uint32_t, std::uint8_t* buffer, std::size_t, std::size_t valid_bytes) {
  Cupti& cupti = loaded();
  {
    const std::lock_guard lock(cupti.mutex);
    KernelRecord* record = nullptr;
    while (cupti.api.cuptiActivityGetNextRecord(buffer, valid_bytes, &record) == kSuccess)
      if (is_work(record->kind) && record->end != 0) cupti.kernels.push_back({record->start, record->end});
  }
  std::free(buffer);
}

}  // namespace

const std::string& cupti_problem() { return loaded().problem; }

KernelRecorder::KernelRecorder(bool copies_and_fills) {
  Cupti& cupti = loaded();
  if (!cupti.problem.empty()) fail(ErrorKind::kUnsupported, "{}", cupti.problem);
  check(cupti.api.cuptiActivityRegisterCallbacks(give_buffer, read_buffer), "cuptiActivityRegisterCallbacks");
  check(cupti.api.cuptiActivityEnable(kConcurrentKernel), "cuptiActivityEnable");
  if (!copies_and_fills) return;
  for (const ActivityKind kind : {kMemcpy, kMemset})
    check(cupti.api.cuptiActivityEnable(kind), "cuptiActivityEnable");
}

KernelRecorder::~KernelRecorder() {
  for (const ActivityKind kind : {kConcurrentKernel, kMemcpy, kMemset})
    loaded().api.cuptiActivityDisable(kind);
  loaded().api.cuptiActivityFlushAll(0);
  const std::lock_guard lock(loaded().mutex);
  loaded().kernels.clear();
}

std::vector<KernelTime> KernelRecorder::take() {
  Cupti& cupti = loaded();
  check(cupti.api.cuptiActivityFlushAll(0), "cuptiActivityFlushAll");
  const std::lock_guard lock(cupti.mutex);
  return std::exchange(cupti.kernels, {});
}

}  // namespace strobe::bench
