// The instruction-set levels of the CPU backend, and the choice among the builds of one kernel.
#pragma once

#include <string_view>

namespace strobe::cpu {

// Every kernel source under src/cpu is compiled once per level of the target architecture, with that level's
// flags and STROBE_ISA defined to its name; everything it defines lives in namespace strobe::cpu::STROBE_ISA.
#if defined(__x86_64__)
enum class Isa { kPortable, kAvx2, kAvx512, kAvx512Bf16 };
inline constexpr int kIsaCount = 4;
#elif defined(__aarch64__)
enum class Isa { kPortable, kNeon, kNeonBf16 };
inline constexpr int kIsaCount = 3;
#else
enum class Isa { kPortable };
inline constexpr int kIsaCount = 1;
#endif

std::string_view name(Isa isa);  // "portable", "avx2", "avx512", "avx512_bf16"; "neon", "neon_bf16"

// Whether this machine (processor and operating system) runs the level.
bool supported(Isa isa);

// The best supported level, or the one that STROBE_CPU_ISA names (an unknown or unsupported name throws
// Error). Read once; `set_active_isa` changes it afterwards: tests and the benchmark sweep levels with it.
Isa active_isa();
void set_active_isa(Isa isa);

// One kernel in every level's build; `*kernel` is the active level's.
template <class Function>
struct PerIsa {
  Function* level[kIsaCount];
  Function* operator*() const { return level[static_cast<int>(active_isa())]; }
};

}  // namespace strobe::cpu

// Declares `kernel` in every level's namespace and, in strobe::cpu, a PerIsa of the same name. Use outside
// any namespace:
//   STROBE_CPU_KERNEL(void, rmsnorm_rows, (const RmsNormRows& rows, int begin, int end))
#if defined(__x86_64__)
#define STROBE_CPU_KERNEL(result, kernel, parameters)                         \
  namespace strobe::cpu {                                                     \
  namespace portable {                                                        \
  result kernel parameters;                                                   \
  }                                                                           \
  namespace avx2 {                                                            \
  result kernel parameters;                                                   \
  }                                                                           \
  namespace avx512 {                                                          \
  result kernel parameters;                                                   \
  }                                                                           \
  namespace avx512_bf16 {                                                     \
  result kernel parameters;                                                   \
  }                                                                           \
  inline constexpr PerIsa<result parameters> kernel = {                       \
      {portable::kernel, avx2::kernel, avx512::kernel, avx512_bf16::kernel}}; \
  }
#elif defined(__aarch64__)
#define STROBE_CPU_KERNEL(result, kernel, parameters)                                                        \
  namespace strobe::cpu {                                                                                    \
  namespace portable {                                                                                       \
  result kernel parameters;                                                                                  \
  }                                                                                                          \
  namespace neon {                                                                                           \
  result kernel parameters;                                                                                  \
  }                                                                                                          \
  namespace neon_bf16 {                                                                                      \
  result kernel parameters;                                                                                  \
  }                                                                                                          \
  inline constexpr PerIsa<result parameters> kernel = {{portable::kernel, neon::kernel, neon_bf16::kernel}}; \
  }
#else
#define STROBE_CPU_KERNEL(result, kernel, parameters)                       \
  namespace strobe::cpu {                                                   \
  namespace portable {                                                      \
  result kernel parameters;                                                 \
  }                                                                         \
  inline constexpr PerIsa<result parameters> kernel = {{portable::kernel}}; \
  }
#endif
