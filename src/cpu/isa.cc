#include "cpu/isa.h"

#include <array>
#include <atomic>
#include <optional>
#include <string>

#include "core/env.h"
#include "core/message.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace strobe::cpu {
namespace {

using Support = std::array<bool, kIsaCount>;

#if defined(__x86_64__)

constexpr std::array<std::string_view, kIsaCount> kNames = {"portable", "avx2", "avx512", "avx512_bf16"};

struct CpuidLeaf {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;

  CpuidLeaf(unsigned leaf, unsigned subleaf) { __get_cpuid_count(leaf, subleaf, &eax, &ebx, &ecx, &edx); }
};

constexpr bool has(unsigned word, unsigned bits) { return (word & bits) == bits; }

// XCR0: the register state that the operating system saves at a context switch.
unsigned saved_state() {
  unsigned low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

Support detect() {
  constexpr unsigned kYmmState = 0x06;  // XMM and the upper halves of YMM
  constexpr unsigned kZmmState = 0xe6;  // and mask registers, upper halves of ZMM0-15, ZMM16-31
  constexpr unsigned kAvx512Bits = bit_AVX512F | bit_AVX512DQ | bit_AVX512CD | bit_AVX512BW | bit_AVX512VL;

  const CpuidLeaf basic(1, 0), extended(7, 0), extended1(7, 1);
  const unsigned state = has(basic.ecx, bit_OSXSAVE) ? saved_state() : 0;
  const bool avx2 =
      has(state, kYmmState) && has(basic.ecx, bit_AVX | bit_FMA | bit_F16C) && has(extended.ebx, bit_AVX2);
  const bool avx512 = avx2 && has(state, kZmmState) && has(extended.ebx, kAvx512Bits);
  const bool has_subleaf1 = extended.eax >= 1;
  const bool bf16 = avx512 && has_subleaf1 && has(extended.ecx, bit_AVX512VNNI | bit_AVX512VBMI) &&
                    has(extended1.eax, bit_AVX512BF16);
  return {true, avx2, avx512, bf16};
}

#elif defined(__aarch64__)

constexpr std::array<std::string_view, kIsaCount> kNames = {"portable", "neon", "neon_bf16"};

Support detect() {
  constexpr unsigned long kHwcapAsimd = 1ul << 1;   // AT_HWCAP
  constexpr unsigned long kHwcap2Bf16 = 1ul << 14;  // AT_HWCAP2
  const bool neon = getauxval(AT_HWCAP) & kHwcapAsimd;
  return {true, neon, neon && (getauxval(AT_HWCAP2) & kHwcap2Bf16)};
}

#else

constexpr std::array<std::string_view, kIsaCount> kNames = {"portable"};

Support detect() { return {true}; }

#endif

const Support& support() {
  static const Support detected = detect();
  return detected;
}

Isa best_isa() {
  int best = kIsaCount - 1;
  while (!support()[static_cast<std::size_t>(best)]) --best;
  return static_cast<Isa>(best);
}

// "portable (supported), avx2 (not supported)"
std::string levels_text() {
  std::string text;
  for (std::size_t level = 0; level < kNames.size(); ++level)
    text += fmt::format("{}{} ({})", level == 0 ? "" : ", ", kNames[level],
                        support()[level] ? "supported" : "not supported");
  return text;
}

std::optional<Isa> parse_isa(std::string_view text) {
  for (std::size_t level = 0; level < kNames.size(); ++level)
    if (kNames[level] == text) return static_cast<Isa>(level);
  return std::nullopt;
}

Isa initial_isa() {
  const std::optional<std::string> wanted = env::text(env::Variable::kCpuIsa);
  if (!wanted) return best_isa();
  const std::optional<Isa> isa = parse_isa(*wanted);
  if (!isa)
    fail(ErrorKind::kInvalidArgument, "STROBE_CPU_ISA: expected a level of this build, got '{}'; levels: {}",
         *wanted, levels_text());
  if (!supported(*isa))
    fail(ErrorKind::kUnsupported, "STROBE_CPU_ISA: this machine does not run '{}'; levels: {}", *wanted,
         levels_text());
  return *isa;
}

constexpr int kUndecided = -1;
std::atomic<int> active{kUndecided};

}  // namespace

std::string_view name(Isa isa) { return kNames[static_cast<std::size_t>(isa)]; }

bool supported(Isa isa) { return support()[static_cast<std::size_t>(isa)]; }

Isa active_isa() {
  int level = active.load(std::memory_order_relaxed);
  if (level == kUndecided) {
    const int initial = static_cast<int>(initial_isa());
    // A set_active_isa in between wins: `level` becomes what it stored.
    if (active.compare_exchange_strong(level, initial, std::memory_order_relaxed)) level = initial;
  }
  return static_cast<Isa>(level);
}

void set_active_isa(Isa isa) {
  if (!supported(isa))
    fail(ErrorKind::kUnsupported, "set_active_isa: this machine does not run '{}'; levels: {}", name(isa),
         levels_text());
  active.store(static_cast<int>(isa), std::memory_order_relaxed);
}

}  // namespace strobe::cpu
