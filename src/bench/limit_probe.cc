#include "bench/limit_probe.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "bench/limits_kernels.h"
#include "bench/machine.h"
#include "cpu/cache_info.h"
#include "strobe/threads.h"

namespace strobe::bench {
namespace {

constexpr int kPasses = 4;
constexpr long kComputeIterations = 300'000;  // about a millisecond

// The most units per nanosecond of a few passes; body(item) is one thread's part of a pass and all parts
// together do `units`.
template <class Body>
double best_rate(int threads, double units, Body body) {
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    executor().run(threads, threads, [&](int item, int) { body(item); });
    const std::chrono::duration<double, std::nano> elapsed = std::chrono::steady_clock::now() - start;
    best = std::max(best, units / elapsed.count());
  }
  return best;
}

std::size_t best_level() { return static_cast<std::size_t>(this_machine().isa_levels.back()); }

// Whole blocks, so that every thread's part is one.
std::int64_t part_bytes(const Tensor& memory, int parts) {
  const auto block = static_cast<std::int64_t>(cpu::kLimitsBlock);
  return memory.view().bytes() / parts / block * block;
}

template <class Kernel>
double compute_rate(const Kernel& kernel, int threads) {
  const double operations = (*kernel)(1) * kComputeIterations;
  if (operations == 0) return 0;
  return best_rate(threads, operations * threads, [&](int) { (*kernel)(kComputeIterations); });
}

}  // namespace

LimitProbe::LimitProbe() : memory_(Dtype::kU8, {static_cast<std::int64_t>(8 * cpu::cache_info().llc)}) {
  std::memset(memory_.as<void>(), 1, static_cast<std::size_t>(memory_.view().bytes()));
}

double LimitProbe::read_rate(int threads) const {
  const std::int64_t part = part_bytes(memory_, threads);
  const auto read = cpu::limits_read.level[best_level()];
  return best_rate(threads, static_cast<double>(part * threads),
                   [&](int item) { read(memory_.as<char>() + item * part, static_cast<std::size_t>(part)); });
}

double LimitProbe::copy_rate(int threads) const {
  const std::int64_t part = part_bytes(memory_, 2 * threads);
  const auto copy = cpu::limits_copy.level[best_level()];
  return best_rate(threads, static_cast<double>(2 * part * threads), [&](int item) {
    char* source = memory_.as<char>() + 2 * item * part;
    copy(source + part, source, static_cast<std::size_t>(part));
  });
}

LimitRates LimitProbe::measure() const {
  const int threads = executor().max_workers();
  return {.dram_read_gbs = read_rate(threads),
          .copy_gbs = copy_rate(threads),
          .fma_gflops = compute_rate(cpu::limits_multiply_add, threads),
          .bf16_dot_gflops = compute_rate(cpu::limits_bf16_dot, threads)};
}

}  // namespace strobe::bench
