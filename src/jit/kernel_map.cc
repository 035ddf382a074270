#include "jit/kernel_map.h"

namespace strobe::jit {
namespace {

constexpr std::size_t kFirstSlots = 64;

}  // namespace

std::uint64_t KernelKey::hash() const {
  std::uint64_t mixed = reinterpret_cast<std::uintptr_t>(source) + static_cast<unsigned>(device);
  for (std::size_t i = 0; i < values.size(); i += 2) {
    const std::uint64_t pair = static_cast<std::uint32_t>(values[i]) |
                               std::uint64_t{static_cast<std::uint32_t>(values[i + 1])} << 32;
    mixed = (mixed ^ pair) * 0x9E3779B97F4A7C15;
    mixed ^= mixed >> 32;
  }
  return mixed;
}
static_assert(kMaxConstants % 2 == 0);

KernelMap::KernelMap() {
  tables_.push_back(std::make_unique<Table>(kFirstSlots));
  table_.store(tables_.back().get(), std::memory_order_release);
}

const cuda::Kernel* KernelMap::find(const KernelKey& key) const {
  const Table& table = *table_.load(std::memory_order_acquire);
  for (std::size_t slot = key.hash() & table.mask;; slot = (slot + 1) & table.mask) {
    const Item* item = table.items[slot].load(std::memory_order_acquire);
    if (item == nullptr) return nullptr;
    if (item->key == key) return &item->kernel;
  }
}

void KernelMap::place(Table& table, const Item* item) {
  std::size_t slot = item->key.hash() & table.mask;
  while (table.items[slot].load(std::memory_order_relaxed) != nullptr) slot = (slot + 1) & table.mask;
  table.items[slot].store(item, std::memory_order_release);
}

const cuda::Kernel& KernelMap::insert(const KernelKey& key, cuda::Kernel kernel) {
  const std::lock_guard lock(mutex_);
  if (const cuda::Kernel* first = find(key); first != nullptr) return *first;
  items_.push_back(std::make_unique<const Item>(Item{key, std::move(kernel)}));
  if (2 * items_.size() <= tables_.back()->items.size()) {
    place(*tables_.back(), items_.back().get());
  } else {  // at most half full, so that probes stay short and end
    tables_.push_back(std::make_unique<Table>(2 * tables_.back()->items.size()));
    for (const auto& item : items_) place(*tables_.back(), item.get());
    table_.store(tables_.back().get(), std::memory_order_release);
  }
  return items_.back()->kernel;
}

std::size_t KernelMap::size() const {
  const std::lock_guard lock(mutex_);
  return items_.size();
}

}  // namespace strobe::jit
