// What the benchmark and `strobe doctor` say about this machine.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cpu/cache_info.h"
#include "cpu/isa.h"

namespace strobe::bench {

struct Machine {
  std::string cpu;     // "AMD EPYC", or "unknown"
  std::string system;  // kernel and architecture
  int cpus = 0;        // that this process may use
  std::int64_t memory_bytes = 0;
  cpu::CacheInfo caches;
  std::vector<cpu::Isa> isa_levels;  // supported ones, ascending
};

Machine this_machine();

// "48 KiB", "32 MiB", "22.9 GiB".
std::string bytes_text(double bytes);

}  // namespace strobe::bench
