// The GPU architectures that kernels are compiled for, and what they can do. Facts of a model of GPU (number
// of SMs, memory, L2) are no facts of its architecture: device.h has those.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace strobe::cuda {

enum class Architecture : std::uint8_t { kSm80, kSm86, kSm89, kSm90a, kSm100a, kSm120a };
inline constexpr int kArchitectureCount = 6;

// Source: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
struct ArchitectureFacts {
  Architecture architecture;
  std::string_view name;  // as the compiler spells it: "sm_90a"
  int capability_major;
  int capability_minor;
  int shared_bytes_per_block;  // static and dynamic together, after opting in
  int shared_bytes_per_sm;     // each resident block costs 1 KiB more than it asks for
  int threads_per_sm;
  bool converts_fp8;       // cvt between e4m3x2/e5m2x2 and f16x2
  bool has_tma;            // cp.async.bulk.tensor, mbarrier transactions, clusters
  bool overlaps_launches;  // programmatic dependent launch: griddepcontrol
};

inline constexpr int kKiB = 1024;
inline constexpr std::array<ArchitectureFacts, kArchitectureCount> kArchitectures = {{
    {Architecture::kSm80, "sm_80", 8, 0, 163 * kKiB, 164 * kKiB, 2048, false, false, false},
    {Architecture::kSm86, "sm_86", 8, 6, 99 * kKiB, 100 * kKiB, 1536, false, false, false},
    {Architecture::kSm89, "sm_89", 8, 9, 99 * kKiB, 100 * kKiB, 1536, true, false, false},
    {Architecture::kSm90a, "sm_90a", 9, 0, 227 * kKiB, 228 * kKiB, 2048, true, true, true},
    {Architecture::kSm100a, "sm_100a", 10, 0, 227 * kKiB, 228 * kKiB, 2048, true, true, true},
    {Architecture::kSm120a, "sm_120a", 12, 0, 99 * kKiB, 100 * kKiB, 1536, true, true, true},
}};

constexpr const ArchitectureFacts& facts(Architecture architecture) {
  return kArchitectures[static_cast<std::size_t>(architecture)];
}

// "sm_80", …
constexpr std::string_view name(Architecture architecture) { return facts(architecture).name; }

// The architecture whose code runs on a device of that compute capability; nothing when kernels are compiled
// for none that does (the code of an "a" architecture runs on exactly that capability).
std::optional<Architecture> architecture_of(int capability_major, int capability_minor);

// The architecture of that name; also "90a", "9.0a", "90" and "9.0", as other tools spell them. Throws
// Error(kInvalidArgument) that lists the names.
Architecture parse_architecture(std::string_view text);

}  // namespace strobe::cuda
