// Stands in for kernels/ptx/cluster.h.
#pragma once

#include "tile/ints.h"

namespace strobe::kernel {

EMULATED uint32_t cluster_rank() { return emulated::machine->cluster_rank; }
EMULATED void wait_for_cluster() { emulated::machine->wait_for_cluster(); }

template <class T>
EMULATED T load_of_rank(const T* shared, uint32_t rank) {
  const auto* theirs = static_cast<const T*>(emulated::machine->of_rank(shared, rank));
  emulated::machine->access(theirs, sizeof(T), sizeof(T), false);
  return *theirs;
}

template <class T>
EMULATED void store_of_rank(T* shared, uint32_t rank, T value) {
  auto* theirs = const_cast<T*>(static_cast<const T*>(emulated::machine->of_rank(shared, rank)));
  emulated::machine->access(theirs, sizeof(T), sizeof(T), true);
  *theirs = value;
}

}  // namespace strobe::kernel
