// Packs booleans into bits, as a whole or segment by segment.
//
// A unit is kUnit bytes of y, made of 8 kUnit elements of x; a thread does kItems of them, kThreads apart.
// Units of 4 bytes need aligned x and y and no segments.
//
// Constants: bool kBig (the first of eight elements goes to the highest bit), kSegments; int kUnit.
#include "packbits/packbits_params.h"
#include "ptx/dependency.h"
#include "ptx/memory.h"

namespace strobe::kernel {

constexpr int kThreads = 256, kItems = 4;

// Bit i is set where byte i of the word is not 0; with kBig, bit 3 - i.
STROBE_DEVICE uint32_t bits_of_word(uint32_t word) {
  const uint32_t nonzero = ((((word & 0x7f7f7f7f) + 0x7f7f7f7f) | word) & 0x80808080) >> 7;
  // The product brings the bytes' lowest bits together in bits 24 to 27.
  return nonzero * (kBig ? 0x08040201u : 0x01020408u) >> 24 & 0xf;
}

// The bits of 8 elements as a byte.
STROBE_DEVICE uint32_t byte_of(uint32_t first_word, uint32_t second_word) {
  const uint32_t first = bits_of_word(first_word), second = bits_of_word(second_word);
  return kBig ? first << 4 | second : first | second << 4;
}

// The byte of the up to eight elements from x on, `count` in number, at any alignment.
STROBE_DEVICE uint32_t byte_at(const unsigned char* x, int64_t count) {
  if (count >= 8 && reinterpret_cast<uint64_t>(x) % 8 == 0) {
    const auto words = load<8>(x);
    return byte_of(words.word[0], words.word[1]);
  }
  uint32_t words[2] = {};
#pragma unroll
  for (int i = 0; i < 8; ++i)
    if (i < count) words[i / 4] |= static_cast<uint32_t>(x[i]) << (i % 4 * 8);
  return byte_of(words[0], words[1]);
}

// The four bytes of 32 elements at an address that is a multiple of 16.
STROBE_DEVICE uint32_t word_at(const unsigned char* x) {
  uint32_t word = 0;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const auto words = load<16>(x + 16 * half);
    word |= (byte_of(words.word[0], words.word[1]) | byte_of(words.word[2], words.word[3]) << 8) << 16 * half;
  }
  return word;
}

// The segment that holds byte `index` of y.
STROBE_DEVICE int segment_of(const PackbitsParams& params, int64_t index) {
  int low = 0, high = params.segments - 1;
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (params.packed_indptr[middle] <= index)
      low = middle;
    else
      high = middle - 1;
  }
  return low;
}

STROBE_DEVICE uint32_t packed_byte(const PackbitsParams& params, int64_t index) {
  if constexpr (!kSegments) return byte_at(params.x + 8 * index, params.elements - 8 * index);
  const int segment = segment_of(params, index);
  const int64_t begin = params.indptr[segment] + 8 * (index - params.packed_indptr[segment]);
  // The host cannot check the index arrays; nothing outside x is read.
  const int64_t end = min(static_cast<int64_t>(params.indptr[segment + 1]), params.elements);
  return begin < 0 ? 0 : byte_at(params.x + begin, end - begin);
}

}  // namespace strobe::kernel

extern "C" __global__ void __launch_bounds__(strobe::kernel::kThreads)
    strobe_packbits(const __grid_constant__ strobe::kernel::PackbitsParams params) {
  using namespace strobe::kernel;
  wait_for_kernel_before();
#pragma unroll
  for (int item = 0; item < kItems; ++item) {
    const int64_t first =
        ((static_cast<int64_t>(blockIdx.x) * kItems + item) * kThreads + threadIdx.x) * kUnit;
    if (kUnit == 4 && 8 * (first + 4) <= params.elements) {
      store(params.y + first, Access<4>{{word_at(params.x + 8 * first)}});
      continue;
    }
#pragma unroll
    for (int64_t index = first; index < first + kUnit; ++index)
      if (index < params.bytes) params.y[index] = static_cast<unsigned char>(packed_byte(params, index));
  }
  let_next_kernel_begin();
}
