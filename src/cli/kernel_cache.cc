#include "cli/kernel_cache.h"

#include <algorithm>

#include "core/env.h"
#include "cuda/device.h"

namespace strobe::cli {
namespace {

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> words;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find_first_of(", ;", begin), text.size());
    if (end > begin) words.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

}  // namespace

std::vector<cuda::Architecture> wanted_architectures(const std::vector<std::string>& names) {
  std::vector<cuda::Architecture> wanted;
  const auto add = [&](cuda::Architecture architecture) {
    if (std::find(wanted.begin(), wanted.end(), architecture) == wanted.end()) wanted.push_back(architecture);
  };
  for (const std::string& name : names) add(cuda::parse_architecture(name));
  if (!wanted.empty()) return wanted;
  if (const auto list = env::text(env::Variable::kCudaArchList))
    for (const std::string& name : split(*list)) add(cuda::parse_architecture(name));
  if (!wanted.empty()) return wanted;
  for (int ordinal = 0; ordinal < cuda::device_count(); ++ordinal)
    if (const auto here =
            cuda::device_facts({DeviceType::kCuda, static_cast<std::int8_t>(ordinal)}).architecture)
      add(*here);
  if (!wanted.empty()) return wanted;
  for (const cuda::ArchitectureFacts& facts : cuda::kArchitectures) add(facts.architecture);
  return wanted;
}

int clear_incomplete(jit::Cache& cache) {
  int removed = cache.sweep();
  for (const std::string& name : cache.incomplete()) removed += cache.files().remove(cache.path(name)) == 0;
  return removed;
}

}  // namespace strobe::cli
