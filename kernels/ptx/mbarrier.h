// Barriers in shared memory that count arrivals and the bytes of asynchronous copies (sm_90 and later).
//
// A barrier goes through phases, 0, 1, …; a phase ends when the announced arrivals and all bytes expected in
// it have come. Waiting names the parity of a phase; on a fresh barrier the phase "before phase 0", of parity
// 1, has ended.
#pragma once

#include "ptx/shared_address.h"

namespace strobe::kernel {

inline constexpr int kBarrierBytes = 8;  // and as aligned

// One thread; then publish_barriers() and a barrier of the block before anybody uses it.
STROBE_DEVICE void init_barrier(SharedAddress barrier, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

// Lets the copy engine see the barriers that this thread has initialised.
STROBE_DEVICE void publish_barriers() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

// What this thread has read and written before comes before what those do who wait for the phase.
STROBE_DEVICE void arrive(SharedAddress barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

// Also the phase ends no earlier than copies have brought so many more bytes.
STROBE_DEVICE void arrive_expecting(SharedAddress barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}

// Returns once the phase of that parity has ended.
STROBE_DEVICE void wait_for_phase(SharedAddress barrier, uint32_t parity) {
  asm volatile(
      "{ .reg .pred ended;\n"
      "wait_again: mbarrier.try_wait.parity.shared::cta.b64 ended, [%0], %1;\n"
      "@!ended bra wait_again; }" ::"r"(barrier),
      "r"(parity)
      : "memory");
}

}  // namespace strobe::kernel
