#include "cpu/cache_info.h"

#include <fmt/format.h>
#include <unistd.h>

#include <fstream>

#include "cpu/pin.h"

namespace strobe::cpu {
namespace {

std::string read_word(const std::string& path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  return word;
}

// "48K", "1024K", "32M", "4096" as bytes; 0 for anything else.
std::size_t parse_size(const std::string& text) {
  std::size_t bytes = 0, at = 0;
  while (at < text.size() && text[at] >= '0' && text[at] <= '9')
    bytes = bytes * 10 + static_cast<std::size_t>(text[at++] - '0');
  const std::string unit = text.substr(at);
  if (unit == "K") return bytes << 10;
  if (unit == "M") return bytes << 20;
  return unit.empty() ? bytes : 0;
}

std::size_t first_known(std::size_t from_sysfs, int sysconf_name, std::size_t fallback) {
  if (from_sysfs > 0) return from_sysfs;
  const long from_sysconf = sysconf(sysconf_name);
  return from_sysconf > 0 ? static_cast<std::size_t>(from_sysconf) : fallback;
}

}  // namespace

CacheInfo read_cache_info(const std::string& directory) {
  constexpr std::size_t kSmallL1d = 32 << 10, kSmallL2 = 256 << 10;
  std::size_t size[5] = {};  // by level, 1 to 4
  for (int index = 0;; ++index) {
    const std::string cache = fmt::format("{}/index{}/", directory, index);
    const std::string level = read_word(cache + "level");
    if (level.empty()) break;
    const bool holds_data = read_word(cache + "type") != "Instruction";
    if (holds_data && level.size() == 1 && level[0] >= '1' && level[0] <= '4')
      size[level[0] - '0'] = parse_size(read_word(cache + "size"));
  }
  CacheInfo info;
  info.l1d = first_known(size[1], _SC_LEVEL1_DCACHE_SIZE, kSmallL1d);
  info.l2 = first_known(size[2], _SC_LEVEL2_CACHE_SIZE, kSmallL2);
  info.llc = first_known(size[3], _SC_LEVEL3_CACHE_SIZE, info.l2);
  if (size[4] > info.llc) info.llc = size[4];
  return info;
}

const CacheInfo& cache_info() {
  static const CacheInfo info =
      read_cache_info(fmt::format("/sys/devices/system/cpu/cpu{}/cache", process_cpus().front()));
  return info;
}

}  // namespace strobe::cpu
