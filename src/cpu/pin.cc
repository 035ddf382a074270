#include "cpu/pin.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "cpu/thread_pool.h"

namespace strobe::cpu {
namespace {

// The kernel's bit mask of CPUs: bit c % 64 of word c / 64. glibc's cpu_set_t ends at 1024 CPUs.
constexpr int kWordBits = 64;
constexpr int kMaxCpus = 8192;
using Mask = std::array<unsigned long, kMaxCpus / kWordBits>;

cpu_set_t* as_cpu_set(Mask& mask) { return reinterpret_cast<cpu_set_t*>(mask.data()); }

std::vector<int> cpus_of(const Mask& mask) {
  std::vector<int> cpus;
  for (int cpu = 0; cpu < kMaxCpus; ++cpu)
    if (mask[static_cast<std::size_t>(cpu / kWordBits)] >> (cpu % kWordBits) & 1) cpus.push_back(cpu);
  return cpus;
}

// The kernel keeps, of all ones, the CPUs of the cpuset.
std::vector<int> cpuset() {
  const std::vector<int> before = affinity();
  Mask all;
  all.fill(~0ul);
  sched_setaffinity(0, sizeof all, as_cpu_set(all));
  std::vector<int> cpus = affinity();
  set_affinity(before);
  return cpus;
}

bool openmp_binds() {
  for (const char* variable : {"OMP_PROC_BIND", "GOMP_CPU_AFFINITY", "KMP_AFFINITY"})
    if (std::getenv(variable) != nullptr) return true;
  return false;
}

std::vector<int> find_process_cpus() {
  std::vector<int> cpus = openmp_binds() ? cpuset() : affinity(getpid());
  if (cpus.empty()) cpus.push_back(0);
  return cpus;
}

// Asks while the library is loaded, before the program can pin its main thread.
[[maybe_unused]] const std::size_t kAskedAtLoad = process_cpus().size();

}  // namespace

const std::vector<int>& process_cpus() {
  // Never freed: a worker may start while static objects are destroyed.
  static const auto& cpus = *new std::vector<int>(find_process_cpus());
  return cpus;
}

std::vector<int> affinity(pid_t thread) {
  Mask mask{};
  if (sched_getaffinity(thread, sizeof mask, as_cpu_set(mask)) != 0) return {};
  return cpus_of(mask);
}

bool set_affinity(std::span<const int> cpus, pid_t thread) {
  Mask mask{};
  for (const int cpu : cpus) mask[static_cast<std::size_t>(cpu / kWordBits)] |= 1ul << (cpu % kWordBits);
  return sched_setaffinity(thread, sizeof mask, as_cpu_set(mask)) == 0;
}

ScopedPin::ScopedPin(Executor& executor) {
  const std::vector<int>& cpus = process_cpus();
  std::vector<pid_t> threads = {static_cast<pid_t>(syscall(SYS_gettid))};
  if (auto* pool = dynamic_cast<ThreadPool*>(&executor)) {
    const std::vector<pid_t> workers = pool->worker_ids();
    threads.insert(threads.end(), workers.begin(), workers.end());
  }
  for (std::size_t i = 0; i < threads.size(); ++i) pin(threads[i], cpus[i % cpus.size()]);
}

ScopedPin::~ScopedPin() {
  for (const auto& [thread, cpus] : restore_) set_affinity(cpus, thread);
}

void ScopedPin::pin(pid_t thread, int cpu) {
  restore_.emplace_back(thread, affinity(thread));
  set_affinity(std::span(&cpu, 1), thread);
}

}  // namespace strobe::cpu
