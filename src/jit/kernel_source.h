// What there is to compile: the CUDA kernels of the library, as data. Warm-up, the doctor, the covering set
// and the compile check of CI derive from it.
//
//   constexpr int kVectors[] = {4, 8};
//   constexpr Constant kConstants[] = {{"kInput", "Dtype", kFloatDtypes, print_dtype}, {"kVector", "int",
//   kVectors}}; constexpr KernelSource kRmsNorm = {.name = "rmsnorm", .header = "norm/rmsnorm.cuh", .types =
//   "tile/dtype.h",
//                                      .constants = kConstants, .launch_facts = rmsnorm_launch};
//
// becomes, with values {2, 8}, the translation unit
//
//   #include "tile/dtype.h"
//   constexpr Dtype kInput = Dtype::kBf16;
//   constexpr int kVector = 8;
//   #include "norm/rmsnorm.cuh"
//
// whose one entry is `extern "C" __global__ void strobe_rmsnorm(const __grid_constant__ RmsNormParams
// params)`.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cuda/architecture.h"

namespace strobe::jit {

inline constexpr int kMaxConstants = 12;

// The values of a kernel's constants, in their order.
using Values = std::span<const int>;

struct Constant {
  std::string_view name;        // "kVector"
  std::string_view type;        // C++ type in the translation unit: "int", "bool", an enum of `types`
  std::span<const int> values;  // all that it may be
  // A value as C++ text; without one, an integer in decimal.
  std::string (*print)(int value) = nullptr;
};

// What a launch of the kernel takes; a test holds `shared_bytes` against every architecture.
struct LaunchFacts {
  int threads = 0;       // of a block
  int shared_bytes = 0;  // dynamic shared memory of a block
};

// Identified by its address: every source is one object that lives as long as the program.
struct KernelSource {
  std::string_view name;    // the entry is strobe_<name>
  std::string_view header;  // relative to kernels/; may be empty when there is a text
  std::string_view types;   // header that declares the types of the constants; may be empty
  // Of sources made at run time from a user's text: what tells them apart in messages, the text itself, which
  // comes before the header, and options of the compiler.
  std::string_view label = {};
  std::string_view text = {};
  std::span<const std::string_view> options = {};
  std::span<const Constant> constants;
  cuda::Architecture least_architecture = cuda::Architecture::kSm80;
  // Whether there is such a kernel; without one, every combination of values is a kernel.
  bool (*valid)(Values values, cuda::Architecture architecture) = nullptr;
  LaunchFacts (*launch_facts)(Values values, cuda::Architecture architecture) = nullptr;
};

// Kernels of a family are declared by `void declare_<family>_kernels(jit::KernelRegistry&)` (namespace
// strobe::op) in src/ops/<family>_cuda.cc, and the family is named in STROBE_CUDA_FAMILIES of CMakeLists.txt.
class KernelRegistry {
 public:
  // Throws Error(kInvalidArgument) when the name is taken or the source is incomplete.
  void add(const KernelSource& source);
  std::span<const KernelSource* const> all() const { return sources_; }
  const KernelSource* find(std::string_view name) const;  // null when there is none

 private:
  std::vector<const KernelSource*> sources_;
};

// The built-in kernels; the first call declares them.
const KernelRegistry& kernel_registry();

// One kernel to compile.
struct Variant {
  const KernelSource* source = nullptr;
  std::array<int, kMaxConstants> values{};  // those past the source's constants are 0
  cuda::Architecture architecture = cuda::Architecture::kSm80;

  Values constants() const { return {values.data(), source->constants.size()}; }
  friend bool operator==(const Variant&, const Variant&) = default;
};

// Whether the source has such a kernel: architecture high enough, every value among its constant's, `valid`.
bool exists(const Variant& variant);

// "rmsnorm(kInput = kBf16, kVector = 8) for sm_90a".
std::string describe(const Variant& variant);

// The translation unit.
std::string translation_unit(const Variant& variant);

// Every kernel of the source for the architecture.
std::vector<Variant> all_variants(const KernelSource& source, cuda::Architecture architecture);

// Few kernels of the source for the architectures: every value of every constant occurs on each architecture
// that has it, and every pair of values of two constants on one of those that have it.
std::vector<Variant> covering_variants(const KernelSource& source,
                                       std::span<const cuda::Architecture> architectures);

}  // namespace strobe::jit
