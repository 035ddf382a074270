// The CPUs that the process and its threads may run on.
#pragma once

#include <sys/types.h>

#include <span>
#include <utility>
#include <vector>

#include "strobe/threads.h"

namespace strobe::cpu {

// The CPUs that this process may use, ascending. That is the mask that the main thread had when the library
// was loaded: it respects `taskset`, `numactl` and cpusets, and forgets a pin that one thread received later.
// When an OpenMP runtime was told to bind threads (OMP_PROC_BIND, GOMP_CPU_AFFINITY, KMP_AFFINITY), it may
// have bound the main thread to one CPU while it was loaded; then the mask is the whole cpuset instead.
const std::vector<int>& process_cpus();

// Affinity of a thread of this process (0: the calling thread). `set_affinity` returns whether the kernel
// accepted it.
std::vector<int> affinity(pid_t thread = 0);
bool set_affinity(std::span<const int> cpus, pid_t thread = 0);

// For the benchmark: pins the calling thread to the first CPU of the process and, when `executor` is a
// ThreadPool, its worker i to the i-th one (modulo their number); the destructor gives every thread its mask
// back. Construct and destroy on one thread, and keep the pool's size in between.
class ScopedPin {
 public:
  explicit ScopedPin(Executor& executor);
  ~ScopedPin();
  ScopedPin(const ScopedPin&) = delete;
  ScopedPin& operator=(const ScopedPin&) = delete;

 private:
  void pin(pid_t thread, int cpu);

  std::vector<std::pair<pid_t, std::vector<int>>> restore_;
};

}  // namespace strobe::cpu
