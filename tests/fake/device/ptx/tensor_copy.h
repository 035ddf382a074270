// Stands in for kernels/ptx/tensor_copy.h: a copy is made when somebody waits for it, at the latest when
// nobody can go on without.
#pragma once

#include "ptx/shared_address.h"
#include "tile/tensor_map.h"

namespace strobe::kernel {

enum class Keep : uint64_t { kFirstToGo, kLastToGo };

EMULATED void prefetch_map(const TensorMap&) {}

EMULATED void copy_box(SharedAddress to, const TensorMap& map, SharedAddress barrier, int32_t x, int32_t y,
                       int32_t z, int32_t w, Keep) {
  const int at[4] = {x, y, z, w};
  emulated::machine->copy_box(to, &map, barrier, at);
}

EMULATED void store_box(const TensorMap& map, SharedAddress from, int32_t x, int32_t y, int32_t z,
                        int32_t w) {
  const int at[4] = {x, y, z, w};
  emulated::machine->store_box(&map, from, at);
}

EMULATED void end_store_group() { emulated::machine->end_store_group(); }
EMULATED void wait_for_store_reads() { emulated::machine->wait_for_stores(); }
EMULATED void wait_for_stores() { emulated::machine->wait_for_stores(); }
EMULATED void order_before_async() { emulated::machine->order_before_async(); }

}  // namespace strobe::kernel
