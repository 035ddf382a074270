#include "jit/warm_up.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

#include "cuda/device.h"
#include "strobe/error.h"

namespace strobe::jit {
namespace {

WarmUpItem warm_up_one(Compiler& compiler, const Variant& variant) {
  WarmUpItem item;
  item.variant = variant;
  try {
    const std::shared_ptr<const Binary> binary = compiler.obtain(variant, {.this_nvrtc = true});
    const EntryRecord& record = binary->entry.record;
    item.compiled = binary->compiled;
    item.clean = record.facts.clean();
    item.seconds = record.seconds;
    item.notes = record.facts.text();
    for (const std::string& warning : record.facts.warnings) item.notes += "\n" + warning;
  } catch (const Error& error) {
    item.error = error.what();
  }
  return item;
}

}  // namespace

std::vector<WarmUpItem> warm_up(Compiler& compiler, std::span<const Variant> variants, int jobs,
                                const WarmUpProgress& progress) {
  std::vector<WarmUpItem> items(variants.size());
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::size_t done = 0;
  const auto work = [&] {
    for (std::size_t i = next++; i < variants.size(); i = next++) {
      items[i] = warm_up_one(compiler, variants[i]);
      const std::lock_guard lock(mutex);
      progress(++done, variants.size(), items[i]);
    }
  };
  std::vector<std::jthread> threads;
  const std::size_t helpers =
      std::min(static_cast<std::size_t>(std::max(jobs, 1)), std::max<std::size_t>(variants.size(), 1)) - 1;
  for (std::size_t i = 0; i < helpers; ++i) threads.emplace_back(work);
  work();
  threads.clear();
  return items;
}

std::vector<Variant> library_variants(cuda::Architecture architecture) {
  std::vector<Variant> variants;
  for (const KernelSource* source : kernel_registry().all()) {
    const bool hoppers_own = source->least_architecture == cuda::Architecture::kSm90a;
    if (hoppers_own && cuda::sm90_disabled()) continue;
    const std::vector<Variant> more = all_variants(*source, architecture);
    variants.insert(variants.end(), more.begin(), more.end());
  }
  return variants;
}

}  // namespace strobe::jit
