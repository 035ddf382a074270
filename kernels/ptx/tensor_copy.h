// Copies of boxes of tensors between global and shared memory by the copy engine (TMA, sm_90 and later): one
// thread issues a copy, it runs by itself. The map is a `const __grid_constant__` parameter; coordinates are
// elements, innermost axis first, and what lies outside the tensor is read as zero and not written. In shared
// memory a box lies innermost axis first without gaps, permuted as the map says: within every 1024 bytes,
// 16-byte chunk c of 128-byte row r is at c ^ r % 8.
#pragma once

#include "ptx/shared_address.h"
#include "tile/tensor_map.h"

namespace strobe::kernel {

// How long what is copied should stay in L2: the encodings of createpolicy's fractions of 1.
enum class Keep : uint64_t { kFirstToGo = 0x12F0000000000000, kLastToGo = 0x14F0000000000000 };

// Where a box begins in a tensor of five axes.
struct BoxPlace {
  int32_t x, y, z, u, w;
};

// To shared memory (1024-byte aligned where the map permutes, or any row of a permuted box). Its bytes count
// at the mbarrier, those outside the tensor too.
STROBE_DEVICE void copy_box(SharedAddress to, const TensorMap& map, const BoxPlace& from,
                            SharedAddress barrier, Keep keep) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1, "
      "{%3, %4, "
      "%5, %6, %7}], [%2], %8;" ::"r"(to),
      "l"(&map), "r"(barrier), "r"(from.x), "r"(from.y), "r"(from.z), "r"(from.u), "r"(from.w),
      "l"(static_cast<uint64_t>(keep))
      : "memory");
}

// To global memory; a part of this thread's next group of stores.
STROBE_DEVICE void store_box(const TensorMap& map, const BoxPlace& to, SharedAddress from) {
  asm volatile(
      "cp.async.bulk.tensor.5d.global.shared::cta.bulk_group [%0, {%2, %3, %4, %5, %6}], [%1];" ::"l"(&map),
      "r"(from), "r"(to.x), "r"(to.y), "r"(to.z), "r"(to.u), "r"(to.w)
      : "memory");
}

// This thread's stores since its last group become a group.
STROBE_DEVICE void end_store_group() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }

// This thread's groups have read shared memory, which may be overwritten.
STROBE_DEVICE void wait_for_store_reads() { asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory"); }

// This thread's groups are in global memory.
STROBE_DEVICE void wait_for_stores() { asm volatile("cp.async.bulk.wait_group 0;" ::: "memory"); }

// What this thread has written to shared memory comes before what the copy engine and the tensor cores do
// with it after a barrier.
STROBE_DEVICE void order_before_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

}  // namespace strobe::kernel
