#include "bench/machine.h"

#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cmath>

#include "cpu/model_name.h"
#include "cpu/pin.h"

namespace strobe::bench {
namespace {

std::string system_text() {
  utsname names{};
  if (uname(&names) != 0) return "unknown";
  return fmt::format("{} {} {}", names.sysname, names.release, names.machine);
}

}  // namespace

Machine this_machine() {
  Machine machine;
  machine.cpu = cpu::model_name();
  machine.system = system_text();
  machine.cpus = static_cast<int>(cpu::process_cpus().size());
  machine.memory_bytes = std::int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  machine.caches = cpu::cache_info();
  for (int level = 0; level < cpu::kIsaCount; ++level)
    if (cpu::supported(static_cast<cpu::Isa>(level)))
      machine.isa_levels.push_back(static_cast<cpu::Isa>(level));
  return machine;
}

std::string bytes_text(double bytes) {
  const char* const units[] = {"B", "KiB", "MiB", "GiB"};
  std::size_t unit = 0;
  for (; bytes >= 1024 && unit + 1 < std::size(units); ++unit) bytes /= 1024;
  return bytes == std::floor(bytes) ? fmt::format("{} {}", bytes, units[unit])
                                    : fmt::format("{:.1f} {}", bytes, units[unit]);
}

}  // namespace strobe::bench
