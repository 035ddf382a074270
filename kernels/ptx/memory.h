// Loads and stores of global memory, 1 to 16 bytes wide. Addresses are multiples of the width.
#pragma once

#include "tile/ints.h"

namespace strobe::kernel {

// The bytes of one access; those of a word that a narrower access leaves are 0.
template <int kBytes>
struct Access {
  uint32_t word[kBytes < 4 ? 1 : kBytes / 4];
};

// Plain loads, not those of the read-only path: an operator may work in place. They may leave lines in L1,
// since those that pass it by (L1::no_allocate) move 7 % less on an H200, also where every byte is read once.
template <int kBytes>
STROBE_DEVICE Access<kBytes> load(const void* address) {
  Access<kBytes> x;
  if constexpr (kBytes == 16)
    asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x.word[0]), "=r"(x.word[1]), "=r"(x.word[2]), "=r"(x.word[3])
                 : "l"(address));
  else if constexpr (kBytes == 8)
    asm volatile("ld.global.v2.u32 {%0, %1}, [%2];" : "=r"(x.word[0]), "=r"(x.word[1]) : "l"(address));
  else if constexpr (kBytes == 4)
    asm volatile("ld.global.u32 %0, [%1];" : "=r"(x.word[0]) : "l"(address));
  else if constexpr (kBytes == 2)
    asm volatile("{ .reg .u16 h; ld.global.u16 h, [%1]; cvt.u32.u16 %0, h; }"
                 : "=r"(x.word[0])
                 : "l"(address));
  else
    asm volatile("ld.global.u8 %0, [%1];" : "=r"(x.word[0]) : "l"(address));
  return x;
}

// Of bytes that the block reads twice, 16 at a time: the first time they are to stay in the caches, the
// second time they need not. On an H200 that makes the second time one of L1 where rows are 16 KiB.
enum class Turn { kFirst, kLast };

template <Turn kTurn>
STROBE_DEVICE Access<16> load_in_turn(const void* address) {
  Access<16> x;
  uint64_t policy;
  if constexpr (kTurn == Turn::kFirst) {
    asm("createpolicy.fractional.L2::evict_last.b64 %0, 1.0;" : "=l"(policy));
    asm volatile("ld.global.L1::evict_last.L2::cache_hint.v4.u32 {%0, %1, %2, %3}, [%4], %5;"
                 : "=r"(x.word[0]), "=r"(x.word[1]), "=r"(x.word[2]), "=r"(x.word[3])
                 : "l"(address), "l"(policy));
  } else {
    asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    asm volatile("ld.global.L1::evict_first.L2::cache_hint.v4.u32 {%0, %1, %2, %3}, [%4], %5;"
                 : "=r"(x.word[0]), "=r"(x.word[1]), "=r"(x.word[2]), "=r"(x.word[3])
                 : "l"(address), "l"(policy));
  }
  return x;
}

// Brings the line to L2. Allowed before wait_for_kernel_before(): what the kernel before still writes goes
// through L2, too, and loads after the wait find it there.
STROBE_DEVICE void prefetch_to_l2(const void* address) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(address));
}

template <int kBytes>
STROBE_DEVICE void store(void* address, const Access<kBytes>& x) {
  if constexpr (kBytes == 16)
    asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(address), "r"(x.word[0]), "r"(x.word[1]),
                 "r"(x.word[2]), "r"(x.word[3])
                 : "memory");
  else if constexpr (kBytes == 8)
    asm volatile("st.global.v2.u32 [%0], {%1, %2};" ::"l"(address), "r"(x.word[0]), "r"(x.word[1])
                 : "memory");
  else if constexpr (kBytes == 4)
    asm volatile("st.global.u32 [%0], %1;" ::"l"(address), "r"(x.word[0]) : "memory");
  else if constexpr (kBytes == 2)
    asm volatile("{ .reg .u16 h; cvt.u16.u32 h, %1; st.global.u16 [%0], h; }" ::"l"(address), "r"(x.word[0])
                 : "memory");
  else
    asm volatile("st.global.u8 [%0], %1;" ::"l"(address), "r"(x.word[0]) : "memory");
}

}  // namespace strobe::kernel
