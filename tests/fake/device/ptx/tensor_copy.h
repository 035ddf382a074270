// Stands in for kernels/ptx/tensor_copy.h: a copy is made when somebody waits for it, at the latest when
// nobody can go on without.
#pragma once

#include "ptx/shared_address.h"
#include "tile/tensor_map.h"

namespace strobe::kernel {

enum class Keep : uint64_t { kFirstToGo, kLastToGo };

struct BoxPlace {
  int32_t x, y, z, u, w;
};

EMULATED void copy_box(SharedAddress to, const TensorMap& map, const BoxPlace& from, SharedAddress barrier,
                       Keep) {
  const int at[5] = {from.x, from.y, from.z, from.u, from.w};
  emulated::machine->copy_box(to, &map, barrier, at);
}

EMULATED void store_box(const TensorMap& map, const BoxPlace& to, SharedAddress from) {
  const int at[5] = {to.x, to.y, to.z, to.u, to.w};
  emulated::machine->store_box(&map, from, at);
}

EMULATED void end_store_group() { emulated::machine->end_store_group(); }
EMULATED void wait_for_store_reads() { emulated::machine->wait_for_stores(); }
EMULATED void wait_for_stores() { emulated::machine->wait_for_stores(); }
EMULATED void order_before_async() { emulated::machine->order_before_async(); }

}  // namespace strobe::kernel
