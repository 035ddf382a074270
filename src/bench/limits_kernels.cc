// Compiled once per level, with STROBE_ISA its name. GCC vectors of the level's width, and one assembly
// instruction per operation, so that no compiler option changes what is counted.
//
// A chain's next step waits for its last one, so `latency x instructions per cycle` chains reach the peak: 8
// for FMA and 12 for vdpbf16ps on Zen 4/5, 16 for FMA on Neoverse V. The chains stay in registers with two
// operands beside them.
#include "bench/limits_kernels.h"

namespace strobe::cpu::STROBE_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64, kRegisters = 32;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32, kRegisters = 16;
#elif defined(__x86_64__)
constexpr int kVectorBytes = 16, kRegisters = 16;
#else
constexpr int kVectorBytes = 16, kRegisters = 32;
#endif

typedef float Vector __attribute__((vector_size(kVectorBytes)));
typedef unsigned Words __attribute__((vector_size(kVectorBytes)));
constexpr int kLanes = kVectorBytes / 4;
constexpr int kChains = kRegisters == 32 ? 24 : 14;

// Keeps a value, and with it the loop that made it, alive.
#if defined(__AVX512F__)
void keep(Vector value) { asm volatile("" ::"v"(value)); }
#elif defined(__x86_64__)
void keep(Vector value) { asm volatile("" ::"x"(value)); }
#elif defined(__aarch64__)
void keep(Vector value) { asm volatile("" ::"w"(value)); }
#else
void keep(Vector value) { asm volatile("" ::"m"(value)); }
#endif

// sum += x * y; the portable build of x86-64 has no FMA and multiplies `sum` in place, so that it needs no
// third register.
inline void multiply_add(Vector& sum, Vector x, Vector y) {
#if defined(__AVX512F__)
  asm("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(x), "v"(y));
#elif defined(__FMA__)
  asm("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(x), "x"(y));
#elif defined(__x86_64__)
  asm("mulps %1, %0\n\taddps %2, %0" : "+x"(sum) : "x"(x), "x"(y));
#elif defined(__aarch64__)
  asm("fmla %0.4s, %1.4s, %2.4s" : "+w"(sum) : "w"(x), "w"(y));
#else
  sum = sum * x + y;
#endif
}

#if defined(__AVX512BF16__)
#define STROBE_LIMITS_BF16_DOT 1
inline void bf16_dot(Vector& sum, Words x, Words y) {
  asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(x), "v"(y));
}
#elif defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
#define STROBE_LIMITS_BF16_DOT 1
inline void bf16_dot(Vector& sum, Words x, Words y) {
  asm("bfdot %0.4s, %1.8h, %2.8h" : "+w"(sum) : "w"(x), "w"(y));
}
#endif

// Runs `step` on every chain, `iterations` times. All loops over chains are unrolled: an array that is
// indexed by a variable anywhere stays in memory.
template <class Step>
inline void run_chains(long iterations, Step step) {
  Vector sum[kChains];
#pragma GCC unroll 32
  for (int chain = 0; chain < kChains; ++chain) sum[chain] = Vector{} + static_cast<float>(chain);
  for (long i = 0; i < iterations; ++i) {
#pragma GCC unroll 32
    for (int chain = 0; chain < kChains; ++chain) step(sum[chain]);
  }
#pragma GCC unroll 32
  for (int chain = 0; chain < kChains; ++chain) keep(sum[chain]);
}

// Stores 64 bytes past the caches: one whole line, as the write-combining buffers want it.
inline void store_line(void* target, const Vector* line) {
  auto* out = static_cast<char*>(target);
#if defined(__AVX512F__)
  asm volatile("vmovntps %1, (%0)" ::"r"(out), "v"(line[0]) : "memory");
#elif defined(__AVX2__)
  asm volatile("vmovntps %1, (%0)\n\tvmovntps %2, 32(%0)" ::"r"(out), "x"(line[0]), "x"(line[1]) : "memory");
#elif defined(__x86_64__)
  asm volatile(
      "movntps %1, (%0)\n\tmovntps %2, 16(%0)\n\tmovntps %3, 32(%0)\n\tmovntps %4, 48(%0)" ::"r"(out),
      "x"(line[0]), "x"(line[1]), "x"(line[2]), "x"(line[3])
      : "memory");
#elif defined(__aarch64__)
  asm volatile("stnp %q1, %q2, [%0]\n\tstnp %q3, %q4, [%0, #32]" ::"r"(out), "w"(line[0]), "w"(line[1]),
               "w"(line[2]), "w"(line[3])
               : "memory");
#else
  __builtin_memcpy(out, line, 64);
#endif
}

}  // namespace

double limits_multiply_add(long iterations) {
  const Vector x = Vector{} + 0.999f, y = Vector{} + 1e-6f;
  run_chains(iterations, [x, y](Vector& sum) { multiply_add(sum, x, y); });
  return 2.0 * kLanes * kChains * static_cast<double>(iterations);
}

double limits_bf16_dot([[maybe_unused]] long iterations) {
#if defined(STROBE_LIMITS_BF16_DOT)
  constexpr unsigned kOnes = 0x3f803f80, kTiny = 0x30003000;  // two bf16 each: 1.0 and 2^-31
  const Words x = Words{} + kOnes, y = Words{} + kTiny;
  run_chains(iterations, [x, y](Vector& sum) { bf16_dot(sum, x, y); });
  return 4.0 * kLanes * kChains * static_cast<double>(iterations);
#else
  return 0;
#endif
}

void limits_read(const void* source, std::size_t bytes) {
  constexpr int kUnroll = 8;
  const auto* in = static_cast<const Vector*>(source);
  const Vector* end = in + bytes / sizeof(Vector);
  Vector sum[kUnroll] = {};
  for (; in != end; in += kUnroll) {
#pragma GCC unroll 8
    for (int i = 0; i < kUnroll; ++i) sum[i] += in[i];
  }
  for (int i = 0; i < kUnroll; ++i) keep(sum[i]);
}

void limits_copy(void* target, const void* source, std::size_t bytes) {
  constexpr std::size_t kLine = 64;
  constexpr int kVectorsPerLine = kLine / sizeof(Vector);
  auto* out = static_cast<char*>(target);
  const auto* in = static_cast<const Vector*>(source);
  for (std::size_t at = 0; at < bytes; at += kLine, in += kVectorsPerLine) {
    Vector line[kVectorsPerLine];
    for (int i = 0; i < kVectorsPerLine; ++i) line[i] = in[i];
    store_line(out + at, line);
  }
#if defined(__x86_64__)
  asm volatile("sfence" ::: "memory");
#endif
}

}  // namespace strobe::cpu::STROBE_ISA
