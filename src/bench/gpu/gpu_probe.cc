#include "bench/gpu/gpu_probe.h"

#include <algorithm>
#include <vector>

#include "bench/roofline.h"
#include "core/message.h"
#include "cuda/capture.h"
#include "cuda/device.h"
#include "cuda/driver.h"
#include "ops/limits_cuda.h"

namespace strobe::bench {
namespace {

constexpr int kCaches = 8;                       // memory for the limits, in second-level caches
constexpr int kBusyPart = 16, kBusyPasses = 64;  // 1/16 of the cache, 64 times
constexpr int kPasses = 4, kSlices = 5, kProducts = 5;

GpuFacts facts_of(Device device) {
  const cuda::DeviceFacts& facts = cuda::device_facts(device);
  return {.device = to_string(device),
          .name = facts.name,
          .architecture = std::string(cuda::name(cuda::architecture_of(device))),
          .sm_count = facts.sm_count,
          .memory_bytes = facts.memory_bytes,
          .l2_bytes = facts.l2_bytes,
          .driver = cuda::version_text(cuda::driver_status().version)};
}

std::int64_t whole_tiles(std::int64_t bytes) {
  const std::int64_t tile = op::read_granularity();
  return std::max<std::int64_t>(1, bytes / tile) * tile;
}

double median(std::vector<double> values) { return Timing{std::move(values)}.median(); }

}  // namespace

GpuProbe::GpuProbe(Device device)
    : device_(device),
      facts_(facts_of(device)),
      read_bytes_(whole_tiles(kCaches * facts_.l2_bytes)),
      stream_(device),
      memory_(device, static_cast<std::size_t>(read_bytes_)),
      sink_(device, sizeof(std::uint32_t)),
      products_(device) {
  memory_.fill(0x5a);
  facts_.no_matrix_peak = products_.problem();
}

void GpuProbe::read(std::int64_t bytes, int passes) const {
  op::launch_read(device_, stream_, memory_.data(), bytes, passes, sink_.data());
}

void GpuProbe::keep_busy() const { read(whole_tiles(facts_.l2_bytes / kBusyPart), kBusyPasses); }

void GpuProbe::evict(std::int64_t bytes) const {
  if (bytes == 0) return;
  read(read_bytes_, static_cast<int>((bytes + read_bytes_ - 1) / read_bytes_));
}

void GpuProbe::copy() const {
  const cuda::ContextGuard context(device_.index);
  const auto from = reinterpret_cast<cuda::DevicePointer>(memory_.data());
  const auto half = static_cast<std::size_t>(read_bytes_ / 2);
  cuda::check(cuda::driver().cuMemcpyDtoDAsync_v2(from + half, from, half, cuda::handle_of(stream_)),
              "cuMemcpyDtoDAsync");
}

template <class F>
double GpuProbe::seconds(F enqueue) const {
  EventTimer timer(*this, 1);
  timer.start();
  enqueue();
  return timer.stop();
}

// Of a few products in a row, some times; nothing where there is no such product.
std::vector<double> GpuProbe::matrix_gflops(Dtype dtype) const {
  std::vector<double> rates;
  if (!products_.enqueue(dtype, stream_)) return rates;  // the first loads the library's kernel
  for (int slice = 0; slice < kSlices; ++slice)
    rates.push_back(kProducts * products_.operations() * 1e-9 / seconds([&] {
                      for (int i = 0; i < kProducts; ++i) products_.enqueue(dtype, stream_);
                    }));
  return rates;
}

LimitRates GpuProbe::measure() const {
  LimitRates best = matrix_best_;
  for (int pass = 0; pass < kPasses; ++pass) {
    const auto bytes = static_cast<double>(read_bytes_);
    best.dram_read_gbs = std::max(best.dram_read_gbs, bytes * 1e-9 / seconds([&] { read(read_bytes_, 1); }));
    best.copy_gbs = std::max(best.copy_gbs, bytes * 1e-9 / seconds([&] { copy(); }));
  }
  return best;
}

Limits GpuProbe::measure_limits() {
  std::vector<double> reads, copies;
  Limits limits{.device = facts_.device, .isa = facts_.architecture};
  for (int slice = 0; slice < kSlices; ++slice) {
    const LimitRates rates = measure();
    reads.push_back(rates.dram_read_gbs);
    copies.push_back(rates.copy_gbs);
    limits.max.dram_read_gbs = std::max(limits.max.dram_read_gbs, rates.dram_read_gbs);
    limits.max.copy_gbs = std::max(limits.max.copy_gbs, rates.copy_gbs);
  }
  limits.median = {.dram_read_gbs = median(std::move(reads)), .copy_gbs = median(std::move(copies))};
  const auto measure_products = [&](Dtype dtype, double LimitRates::*rate) {
    std::vector<double> rates = matrix_gflops(dtype);
    if (rates.empty()) return;
    limits.max.*rate = *std::max_element(rates.begin(), rates.end());
    limits.median.*rate = median(std::move(rates));
  };
  measure_products(Dtype::kBf16, &LimitRates::bf16_dot_gflops);
  measure_products(Dtype::kE4m3, &LimitRates::e4m3_dot_gflops);
  matrix_best_ = larger(matrix_best_, {.bf16_dot_gflops = limits.max.bf16_dot_gflops,
                                       .e4m3_dot_gflops = limits.max.e4m3_dot_gflops});
  return limits;
}

void CuptiTimer::start() {
  cuda::synchronize(probe_.device(), probe_.stream());
  recorder_.take();
}

double CuptiTimer::stop() {
  cuda::synchronize(probe_.device(), probe_.stream());
  const std::vector<KernelTime> kernels = recorder_.take();
  if (kernels.empty()) fail(ErrorKind::kDriver, "CUPTI has recorded no kernel of a call; events time it");
  const auto earlier = [](const KernelTime& a, const KernelTime& b) { return a.begin < b.begin; };
  const auto ends_earlier = [](const KernelTime& a, const KernelTime& b) { return a.end < b.end; };
  const std::uint64_t begin = std::min_element(kernels.begin(), kernels.end(), earlier)->begin;
  const std::uint64_t end = std::max_element(kernels.begin(), kernels.end(), ends_earlier)->end;
  return static_cast<double>(end - begin) * 1e-9;
}

void EventTimer::start() {
  probe_.keep_busy();
  start_.record(probe_.stream());
}

double EventTimer::stop() {
  end_.record(probe_.stream());
  end_.wait();
  return cuda::milliseconds_between(start_, end_) * 1e-3 / calls_;
}

}  // namespace strobe::bench
