// Stands in for kernels/ptx/mbarrier.h.
#pragma once

#include "ptx/shared_address.h"

namespace strobe::kernel {

inline constexpr int kBarrierBytes = 8;

EMULATED void init_barrier(SharedAddress barrier, uint32_t arrivals) {
  emulated::machine->init_barrier(barrier, arrivals);
}
EMULATED void publish_barriers() { emulated::machine->publish_barriers(); }
EMULATED void arrive(SharedAddress barrier) { emulated::machine->arrive(barrier, 0); }
EMULATED void arrive_expecting(SharedAddress barrier, uint32_t bytes) {
  emulated::machine->arrive(barrier, bytes);
}
EMULATED void wait_for_phase(SharedAddress barrier, uint32_t parity) {
  emulated::machine->wait_for_phase(barrier, parity);
}

}  // namespace strobe::kernel
