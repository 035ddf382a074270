#include "cli/cuda_findings.h"

#include <filesystem>
#include <set>

#include "cli/kernel_cache.h"
#include "jit/compiler.h"
#include "jit/warm_up.h"

namespace strobe::cli {

CudaFindings find_cuda() {
  CudaFindings found;
  found.driver = cuda::driver_status();
  for (int ordinal = 0; ordinal < cuda::device_count(); ++ordinal)
    found.devices.push_back(cuda::device_facts({DeviceType::kCuda, static_cast<std::int8_t>(ordinal)}));
  found.nvrtc = jit::nvrtc().status();

  jit::Cache& cache = jit::compiler().cache();
  found.cache_directory = cache.directory();
  std::error_code error;
  const bool not_yet = !cache.directory().empty() && !std::filesystem::exists(cache.directory(), error);
  if (!not_yet) found.cache_problem = cache.problem(false);
  std::set<std::string> keys;
  for (const jit::EntryName& name : cache.entries()) {
    ++found.cache_entries;
    keys.insert(name.source_key);
  }
  found.cache_incomplete = cache.incomplete().size();
  for (const cuda::Architecture architecture : wanted_architectures({})) {
    KernelCount count{architecture};
    for (const jit::Variant& variant : jit::library_variants(architecture)) {
      ++count.kernels;
      count.cached += keys.contains(jit::compiler().source_key(variant));
    }
    found.kernels.push_back(count);
  }
  return found;
}

}  // namespace strobe::cli
