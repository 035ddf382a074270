// Blocks of a cluster (sm_90 and later): they run at the same time and read each other's shared memory.
#pragma once

#include "tile/ints.h"

namespace strobe::kernel {

// The number of this block in its cluster.
STROBE_DEVICE uint32_t cluster_rank() {
  uint32_t rank = 0;
#if __CUDA_ARCH__ >= 900
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
#endif
  return rank;
}

// A barrier of all threads of the cluster: what they have written before can be read behind it.
STROBE_DEVICE void wait_for_cluster() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release.aligned; barrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}

// Where the block of that rank has what lies at an address of shared memory. Volatile, so that the addresses
// of many ranks are not kept in registers from one use to the next.
STROBE_DEVICE uint32_t address_of_rank(const void* shared, uint32_t rank) {
  uint32_t address = 0;
#if __CUDA_ARCH__ >= 900
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;"
               : "=r"(address)
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(shared))), "r"(rank));
#endif
  return address;
}

// What the block of that rank has in the place of `shared`: 4 or 8 bytes. That block has not ended.
template <class T>
STROBE_DEVICE T load_of_rank(const T* shared, uint32_t rank) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  T value{};
#if __CUDA_ARCH__ >= 900
  const uint32_t address = address_of_rank(shared, rank);
  if constexpr (sizeof(T) == 4) {
    uint32_t word;
    asm volatile("ld.shared::cluster.u32 %0, [%1];" : "=r"(word) : "r"(address) : "memory");
    value = __builtin_bit_cast(T, word);
  } else {
    uint64_t word;
    asm volatile("ld.shared::cluster.u64 %0, [%1];" : "=l"(word) : "r"(address) : "memory");
    value = __builtin_bit_cast(T, word);
  }
#endif
  return value;
}

// Writes it there.
template <class T>
STROBE_DEVICE void store_of_rank(T* shared, uint32_t rank, T value) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
#if __CUDA_ARCH__ >= 900
  const uint32_t address = address_of_rank(shared, rank);
  if constexpr (sizeof(T) == 4)
    asm volatile("st.shared::cluster.u32 [%0], %1;" ::"r"(address), "r"(__builtin_bit_cast(uint32_t, value))
                 : "memory");
  else
    asm volatile("st.shared::cluster.u64 [%0], %1;" ::"r"(address), "l"(__builtin_bit_cast(uint64_t, value))
                 : "memory");
#endif
}

}  // namespace strobe::kernel
