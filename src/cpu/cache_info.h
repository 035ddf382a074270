// Sizes of this machine's data caches: tile sizes follow from them.
#pragma once

#include <cstddef>
#include <string>

namespace strobe::cpu {

struct CacheInfo {
  std::size_t l1d = 0;  // bytes of one core's level-1 data cache
  std::size_t l2 = 0;   // bytes of one level-2 cache
  std::size_t llc = 0;  // bytes of one last-level cache: level 3 where there is one, else level 2
};

// The caches of the first CPU that the process may use, asked once.
const CacheInfo& cache_info();

// The caches that a directory laid out like /sys/devices/system/cpu/cpu0/cache describes; a level that it
// lacks comes from sysconf and, where that knows nothing either (containers, some Arm kernels), from the
// smallest common size.
CacheInfo read_cache_info(const std::string& directory);

}  // namespace strobe::cpu
