// What this machine can do at most: the denominators of every efficiency that the benchmark reports.
#pragma once

#include <cstddef>
#include <string>

#include "cpu/isa.h"

namespace strobe::bench {

struct LimitRates {
  double dram_read_gbs = 0;  // 1e9 bytes/s read in order, all threads together
  double copy_gbs = 0;       // 1e9 bytes/s read plus written, stores past the caches
  double fma_gflops = 0;     // 1e9 f32 operations/s, 2 a multiply-add; 0: not measured
  // 1e9 bf16 operations/s, 2 a multiply-add; 0 when the level has no bf16 dot product. Of a GPU: products of
  // large matrices; 0: not measured.
  double bf16_dot_gflops = 0;
  double e4m3_dot_gflops = 0;  // the same of e4m3; 0 on a CPU
};

// Measured in short slices. Neighbours on the machine only slow a slice down: `max` is the limit, and a
// median far below it tells of a disturbed measurement.
struct Limits {
  LimitRates max;
  LimitRates median;
  std::string device = "cpu";
  // Level of the compute rates; the memory rates are those of the best supported level. Of a GPU: its
  // architecture.
  std::string isa;
  int threads = 0;     // 0 on a GPU
  double seconds = 0;  // that the measurement took
};

struct LimitsOptions {
  double seconds = 1.0;  // for all that is measured; preparing the memory comes on top
  bool memory = true;    // dram_read_gbs and copy_gbs; left 0 otherwise
  bool compute = true;   // fma_gflops and bf16_dot_gflops; left 0 otherwise
  // Memory that each thread goes through. 0: 512 MiB, less when that many threads would take more than a
  // quarter of the machine's memory, but together never less than 8 last-level caches.
  std::size_t bytes_per_thread = 0;
};

// Measures on threads of its own, each pinned to a CPU that the process may use. Errors: kUnsupported for a
// level that this machine does not run, kInvalidArgument for threads outside [1, 1024] or non-positive
// seconds, kOutOfMemory.
Limits measure_limits(cpu::Isa isa, int threads, const LimitsOptions& options = {});

}  // namespace strobe::bench
