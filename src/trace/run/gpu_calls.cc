#include "trace/run/gpu_calls.h"

#include <algorithm>

#include "cuda/device.h"
#include "cuda/driver.h"
#include "cuda/event.h"

namespace strobe::trace {
namespace {

constexpr Stream kDefaultStream{};

Device gpu(int ordinal) { return {DeviceType::kCuda, static_cast<std::int8_t>(ordinal)}; }

cuda::DevicePointer pointer(const cuda::DeviceBuffer& buffer) {
  return reinterpret_cast<cuda::DevicePointer>(buffer.data());
}

void fill(const cuda::DeviceBuffer& buffer) {
  cuda::check(cuda::driver().cuMemsetD8Async(pointer(buffer), 0, buffer.bytes(), nullptr), "cuMemsetD8Async");
}

void copy(const cuda::DeviceBuffer& to, const cuda::DeviceBuffer& from) {
  cuda::check(cuda::driver().cuMemcpyDtoDAsync_v2(pointer(to), pointer(from), from.bytes(), nullptr),
              "cuMemcpyDtoDAsync");
}

}  // namespace

GpuCalls::GpuCalls(int device, std::span<std::byte> host)
    : device_(gpu(device)),
      host_(host),
      memory_(device_, host.size()),
      staging_(device_, host.size()),
      flush_(device_, static_cast<std::size_t>(cuda::device_facts(device_).l2_bytes) * 2) {
  if (bench::cupti_problem().empty()) recorder_ = std::make_unique<bench::KernelRecorder>(true);
}

void GpuCalls::flush_l2() { fill(flush_); }

// Until the stream gets there the tensors hold zeros.
void GpuCalls::bring_late() {
  constexpr int kDelay = 64;  // flushes: some milliseconds
  staging_.upload(host_);
  fill(memory_);
  cuda::synchronize(device_, kDefaultStream);
  for (int i = 0; i < kDelay; ++i) flush_l2();
  copy(memory_, staging_);
}

void GpuCalls::take_away() {
  copy(staging_, memory_);
  staging_.download(host_);
}

void GpuCalls::check(const std::vector<std::size_t>& sets, const std::function<void(std::size_t)>& call,
                     bool waits) {
  const cuda::ContextGuard context(device_.index);
  bring_late();
  for (const std::size_t set : sets) {
    if (waits) cuda::synchronize(device_, kDefaultStream);
    call(set);
  }
  take_away();
}

std::vector<double> GpuCalls::time(const std::vector<std::size_t>& sets,
                                   const std::function<void(std::size_t)>& call) {
  const cuda::ContextGuard context(device_.index);
  bring_late();
  std::vector<double> times;
  for (const std::size_t set : sets) times.push_back(time_of([&] { call(set); }));
  take_away();
  return times;
}

// By CUPTI from the beginning of the first kernel, copy or fill to the end of the last one. The flushes come
// first, and keep the GPU busy until the call has enqueued all that it does.
double GpuCalls::time_of(const std::function<void()>& call) {
  constexpr std::size_t kFlushes = 4;
  cuda::Event begin(device_), end(device_);
  cuda::synchronize(device_, kDefaultStream);
  if (recorder_) recorder_->take();
  for (std::size_t i = 0; i < kFlushes; ++i) flush_l2();
  begin.record(kDefaultStream);
  call();
  end.record(kDefaultStream);
  cuda::synchronize(device_, kDefaultStream);
  std::vector<bench::KernelTime> work = recorder_ ? recorder_->take() : std::vector<bench::KernelTime>{};
  if (work.size() <= kFlushes) return cuda::milliseconds_between(begin, end);
  std::sort(work.begin(), work.end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
  std::uint64_t last = 0;
  for (std::size_t i = kFlushes; i < work.size(); ++i) last = std::max(last, work[i].end);
  return static_cast<double>(last - work[kFlushes].begin) * 1e-6;
}

void GpuCalls::run_through(const std::vector<std::size_t>& sets,
                           const std::function<void(std::size_t)>& call) {
  const cuda::ContextGuard context(device_.index);
  for (const std::size_t set : sets) call(set);
  cuda::synchronize(device_, kDefaultStream);
}

}  // namespace strobe::trace
