#include "cpu/logits_kernel.h"

#include "cpu/simd.h"

namespace strobe::cpu::STROBE_ISA {
namespace {

// Lane i is set where bit i of the vector's bits is.
STROBE_INLINE I32 lanes_of(uint32_t bits) { return (I32)((splat(bits) >> (U32)lane_numbers() & 1u) != 0u); }
// The bits of the vector that begins at token `at`; a vector's tokens lie in one word.
STROBE_INLINE uint32_t bits_at(const uint32_t* words, int64_t at) { return words[at / 32] >> (at % 32); }

STROBE_INLINE I32 load_counts(const int32_t* counts, int n) {
  I32 x{};
  if (n == kLanes)
    __builtin_memcpy(&x, counts, sizeof x);
  else
    for (int i = 0; i < n; ++i) x[i] = counts[i];
  return x;
}

// The n tokens from `at` on.
STROBE_INLINE F32 processed(const LogitsRow& row, F32 x, int64_t at, int n) {
  if (row.counts != nullptr || row.prompt_mask != nullptr) {
    const I32 count = row.counts != nullptr ? load_counts(row.counts + at, n) : I32{};
    const I32 generated = count > 0;
    I32 seen = generated;
    if (row.prompt_mask != nullptr) seen |= lanes_of(bits_at(row.prompt_mask, at));
    x = select(seen, select(x > 0.0f, x / row.repetition, x * row.repetition), x);
    x = select(generated, x - splat(row.frequency) * to_f32(count) - row.presence, x);
  }
  if (row.bitmask != nullptr)
    x = select(lanes_of(bits_at(row.bitmask, at)), x, splat(-from_bits(0x7f800000u)));
  return row.bad ? splat(from_bits(0x7fc00000u)) : x;
}

template <class T>
void run(const LogitsRow& row) {
  const T* x = static_cast<const T*>(row.input);
  T* out = static_cast<T*>(row.out);
  int64_t at = 0;
  for (; at + kLanes <= row.vocab_size; at += kLanes)
    store(out + at, processed(row, load(x + at), at, kLanes));
  const int rest = static_cast<int>(row.vocab_size - at);
  if (rest > 0) store_n(out + at, processed(row, load_n(x + at, rest), at, rest), rest);
}

}  // namespace

void process_logits_row(const LogitsRow& row) {
  switch (row.dtype) {
    case Dtype::kF32:
      return run<float>(row);
    case Dtype::kF16:
      return run<f16_t>(row);
    case Dtype::kBf16:
      return run<bf16_t>(row);
    default:
      return;
  }
}

}  // namespace strobe::cpu::STROBE_ISA
