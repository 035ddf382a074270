#include "cpu/packbits_kernel.h"

#include "cpu/simd.h"

namespace strobe::cpu::STROBE_ISA {
namespace {

constexpr int kWord = 64;  // elements that make one word of bits

// Bit i is set where x[i] is not 0.
STROBE_INLINE uint64_t nonzero_bits(const uint8_t* x) {
#if defined(STROBE_SIMD_AVX512)
  typedef uint8_t Bytes __attribute__((vector_size(64)));
  Bytes v;
  __builtin_memcpy(&v, x, sizeof v);
  uint64_t set;
  asm("vptestmb %1, %1, %0" : "=Yk"(set) : "v"(v));
  return set;
#elif defined(STROBE_SIMD_AVX2)
  typedef uint8_t Bytes __attribute__((vector_size(32)));
  uint64_t zero = 0;
  for (int half = 0; half < 2; ++half) {
    Bytes v;
    __builtin_memcpy(&v, x + half * 32, sizeof v);
    uint32_t mask;
    asm("vpmovmskb %1, %0" : "=r"(mask) : "x"(v == 0));
    zero |= static_cast<uint64_t>(mask) << (half * 32);
  }
  return ~zero;
#else
  uint64_t set = 0;
  for (int byte = 0; byte < 8; ++byte) {
    uint64_t v;
    __builtin_memcpy(&v, x + byte * 8, sizeof v);
    // The low seven bits carry into the eighth unless all are 0.
    const uint64_t low = 0x7f7f7f7f7f7f7f7full;
    const uint64_t ones = (((v & low) + low) | v) >> 7 & 0x0101010101010101ull;
    // The product's top byte collects the byte of element i at bit i.
    set |= (ones * 0x0102040810204080ull >> 56) << (byte * 8);
  }
  return set;
#endif
}

STROBE_INLINE uint64_t reverse_bits_of_bytes(uint64_t x) {
  x = (x >> 1 & 0x5555555555555555ull) | (x & 0x5555555555555555ull) << 1;
  x = (x >> 2 & 0x3333333333333333ull) | (x & 0x3333333333333333ull) << 2;
  return (x >> 4 & 0x0f0f0f0f0f0f0f0full) | (x & 0x0f0f0f0f0f0f0f0full) << 4;
}

}  // namespace

void packbits_bytes(const uint8_t* x, int64_t num_elements, uint8_t* y, int64_t begin, int64_t end,
                    bool big_endian) {
  for (int64_t byte = begin; byte < end; byte += kWord / 8) {
    const int bytes = end - byte < kWord / 8 ? static_cast<int>(end - byte) : kWord / 8;
    const uint8_t* from = x + byte * 8;
    uint8_t rest[kWord] = {};
    const int64_t left = num_elements - byte * 8;
    if (left < kWord) {
      __builtin_memcpy(rest, from, static_cast<size_t>(left));
      from = rest;
    }
    const uint64_t set = nonzero_bits(from);
    const uint64_t packed = big_endian ? reverse_bits_of_bytes(set) : set;
    __builtin_memcpy(y + byte, &packed, static_cast<size_t>(bytes));
  }
}

}  // namespace strobe::cpu::STROBE_ISA
