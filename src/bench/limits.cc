#include "bench/limits.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstring>
#include <span>
#include <system_error>
#include <thread>
#include <vector>

#include "bench/limits_kernels.h"
#include "core/message.h"
#include "cpu/cache_info.h"
#include "cpu/pin.h"
#include "cpu/thread_pool.h"

namespace strobe::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kSlices = 25;
constexpr std::size_t kHugePage = 2 << 20;
constexpr std::size_t kChunk = 2 << 20;  // bytes between two looks at the clock
constexpr long kIterations = 10'000;     // of a compute loop between two looks at the clock: some 30 us

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Calls body(thread, barrier of all threads) on `threads` threads, thread i pinned to the i-th CPU of the
// process.
template <class Body>
void on_pinned_threads(int threads, Body body) {
  const std::vector<int>& cpus = cpu::process_cpus();
  std::barrier slice_start(threads);
  std::vector<std::thread> running;
  const auto start = [&](int thread) {
    const int cpu = cpus[static_cast<std::size_t>(thread) % cpus.size()];
    cpu::set_affinity(std::span(&cpu, 1));
    body(thread, slice_start);
  };
  try {
    for (int thread = 0; thread < threads; ++thread) running.emplace_back(start, thread);
  } catch (const std::system_error&) {  // those that did start must not wait for the others
    for (std::size_t missing = running.size(); missing < static_cast<std::size_t>(threads); ++missing)
      slice_start.arrive_and_drop();
  }
  for (std::thread& thread : running) thread.join();
  if (running.size() < static_cast<std::size_t>(threads))
    fail(ErrorKind::kOutOfMemory, "measure_limits: the system gave {} of {} threads", running.size(),
         threads);
}

struct Rate {
  double max = 0, median = 0;
};

// Units per nanosecond that all threads together reach in short slices; chunk(thread) does some work and
// returns its units. All threads start a slice together.
template <class Chunk>
Rate measure(int threads, double seconds, Chunk chunk) {
  const double slice_seconds = seconds / kSlices;
  std::vector<std::vector<double>> rates(static_cast<std::size_t>(threads), std::vector<double>(kSlices));
  on_pinned_threads(threads, [&](int thread, std::barrier<>& slice_start) {
    for (double& rate : rates[static_cast<std::size_t>(thread)]) {
      slice_start.arrive_and_wait();
      const Clock::time_point start = Clock::now();
      double units = 0, elapsed = 0;
      do {
        units += chunk(thread);
        elapsed = seconds_since(start);
      } while (elapsed < slice_seconds);
      rate = units / elapsed * 1e-9;
    }
  });
  std::vector<double> together(kSlices);
  for (const std::vector<double>& of_thread : rates)
    for (std::size_t slice = 0; slice < together.size(); ++slice) together[slice] += of_thread[slice];
  std::sort(together.begin(), together.end());
  return {together.back(), together[together.size() / 2]};
}

// Anonymous memory on huge pages, so that address translation does not limit the rates.
class HugeBuffer {
 public:
  explicit HugeBuffer(std::size_t bytes) : mapped_(bytes + kHugePage) {
    base_ = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base_ == MAP_FAILED)
      fail(ErrorKind::kOutOfMemory, "measure_limits: the system gave no {} MiB of memory", mapped_ >> 20);
    madvise(base_, mapped_, MADV_HUGEPAGE);
  }
  ~HugeBuffer() { munmap(base_, mapped_); }
  HugeBuffer(const HugeBuffer&) = delete;
  HugeBuffer& operator=(const HugeBuffer&) = delete;

  char* data() const {
    const auto address = reinterpret_cast<std::uintptr_t>(base_);
    return static_cast<char*>(base_) + (kHugePage - address % kHugePage) % kHugePage;
  }

 private:
  std::size_t mapped_;
  void* base_;
};

std::size_t round_up(std::size_t value, std::size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// A multiple of two chunks: the copy's source and target are the halves.
std::size_t bytes_per_thread(int threads, std::size_t wanted) {
  constexpr std::size_t kUsual = std::size_t{512} << 20;
  const auto count = static_cast<std::size_t>(threads);
  if (wanted == 0) {
    const auto machine =
        static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    wanted = std::max(std::min(kUsual, machine / 4 / count), 8 * cpu::cache_info().llc / count);
  }
  return round_up(wanted, 2 * kChunk);
}

// One thread's way through its part of the memory, chunk after chunk, again and again.
struct alignas(64) Cursor {
  std::size_t at = 0;

  std::size_t next(std::size_t end) {
    const std::size_t here = at;
    at = here + kChunk < end ? here + kChunk : 0;
    return here;
  }
};

void measure_memory(cpu::Isa isa, int threads, double seconds, std::size_t part, Limits& limits) {
  const HugeBuffer buffer(part * static_cast<std::size_t>(threads));
  const auto part_of = [&](int thread) { return buffer.data() + part * static_cast<std::size_t>(thread); };
  // Each thread touches its part first, which places it on that thread's memory node.
  on_pinned_threads(threads, [&](int thread, std::barrier<>&) { std::memset(part_of(thread), 1, part); });

  const auto level = static_cast<std::size_t>(isa);
  std::vector<Cursor> cursors(static_cast<std::size_t>(threads));
  const Rate read = measure(threads, seconds / 2, [&](int thread) {
    const std::size_t at = cursors[static_cast<std::size_t>(thread)].next(part);
    cpu::limits_read.level[level](part_of(thread) + at, kChunk);
    return static_cast<double>(kChunk);
  });
  cursors.assign(cursors.size(), {});
  const Rate copy = measure(threads, seconds / 2, [&](int thread) {
    const std::size_t at = cursors[static_cast<std::size_t>(thread)].next(part / 2);
    cpu::limits_copy.level[level](part_of(thread) + part / 2 + at, part_of(thread) + at, kChunk);
    return 2.0 * kChunk;
  });
  limits.max.dram_read_gbs = read.max;
  limits.median.dram_read_gbs = read.median;
  limits.max.copy_gbs = copy.max;
  limits.median.copy_gbs = copy.median;
}

void measure_compute(cpu::Isa isa, int threads, double seconds, Limits& limits) {
  const auto level = static_cast<std::size_t>(isa);
  const auto multiply_add = cpu::limits_multiply_add.level[level];
  const auto bf16_dot = cpu::limits_bf16_dot.level[level];
  const bool has_dot = bf16_dot(1) > 0;
  const double share = has_dot ? seconds / 2 : seconds;
  const Rate fma = measure(threads, share, [&](int) { return multiply_add(kIterations); });
  limits.max.fma_gflops = fma.max;
  limits.median.fma_gflops = fma.median;
  if (!has_dot) return;
  const Rate dot = measure(threads, share, [&](int) { return bf16_dot(kIterations); });
  limits.max.bf16_dot_gflops = dot.max;
  limits.median.bf16_dot_gflops = dot.median;
}

cpu::Isa best_isa() {
  int level = cpu::kIsaCount - 1;
  while (!cpu::supported(static_cast<cpu::Isa>(level))) --level;
  return static_cast<cpu::Isa>(level);
}

void check_arguments(cpu::Isa isa, int threads, const LimitsOptions& options) {
  if (!cpu::supported(isa))
    fail(ErrorKind::kUnsupported, "measure_limits: this machine does not run level '{}'", cpu::name(isa));
  if (threads < 1 || threads > cpu::kMaxThreads)
    fail(ErrorKind::kInvalidArgument, "measure_limits: threads: expected an integer in [1, {}], got {}",
         cpu::kMaxThreads, threads);
  if (!(options.seconds > 0))
    fail(ErrorKind::kInvalidArgument, "measure_limits: seconds: expected more than 0, got {}",
         options.seconds);
}

}  // namespace

Limits measure_limits(cpu::Isa isa, int threads, const LimitsOptions& options) {
  check_arguments(isa, threads, options);
  const Clock::time_point start = Clock::now();
  Limits limits;
  limits.isa = cpu::name(isa);
  limits.threads = threads;
  const double share = options.memory && options.compute ? options.seconds / 2 : options.seconds;
  if (options.memory)
    measure_memory(best_isa(), threads, share, bytes_per_thread(threads, options.bytes_per_thread), limits);
  if (options.compute) measure_compute(isa, threads, share, limits);
  limits.seconds = seconds_since(start);
  return limits;
}

}  // namespace strobe::bench
