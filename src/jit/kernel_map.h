// The loaded kernels of the process, found without a lock.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "cuda/launch.h"
#include "jit/kernel_source.h"

namespace strobe::jit {

struct KernelKey {
  const KernelSource* source = nullptr;
  std::array<int, kMaxConstants> values{};
  int device = 0;
  friend bool operator==(const KernelKey&, const KernelKey&) = default;

  std::uint64_t hash() const;
};

// An open-addressing table that only grows: readers walk a published array of pointers to immutable items;
// writers, one at a time, publish an item or a larger array. Former arrays stay, since a reader may still be
// in one.
class KernelMap {
 public:
  KernelMap();
  const cuda::Kernel* find(const KernelKey& key) const;  // null when there is none
  // The kernel of that key: the one given, or the one that came first.
  const cuda::Kernel& insert(const KernelKey& key, cuda::Kernel kernel);
  std::size_t size() const;

 private:
  struct Item {
    KernelKey key;
    cuda::Kernel kernel;
  };
  struct Table {
    explicit Table(std::size_t slots) : mask(slots - 1), items(slots) {}
    std::size_t mask;
    std::vector<std::atomic<const Item*>> items;
  };
  static void place(Table& table, const Item* item);

  std::atomic<const Table*> table_;
  mutable std::mutex mutex_;  // of writers
  std::vector<std::unique_ptr<Table>> tables_;
  std::vector<std::unique_ptr<const Item>> items_;
};

}  // namespace strobe::jit
