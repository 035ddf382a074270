#include "cuda/tensor_map.h"

#include <cstddef>

#include "core/message.h"
#include "cuda/device.h"
#include "cuda/driver.h"
#include "cuda/rehearsal.h"

namespace strobe::cuda {
namespace {

constexpr std::uint64_t kAlignment = 16;
constexpr std::uint64_t kMaxStrideBytes = std::uint64_t{1} << 40;
constexpr std::uint64_t kMaxSize = std::uint64_t{1} << 32;
constexpr std::uint32_t kMaxBox = 256;

std::uint64_t bytes_of(TensorMapType type) {
  switch (type) {
    case TensorMapType::kU8:
      return 1;
    case TensorMapType::kU16:
    case TensorMapType::kF16:
    case TensorMapType::kBf16:
      return 2;
    case TensorMapType::kU32:
    case TensorMapType::kI32:
    case TensorMapType::kF32:
      return 4;
  }
  return 0;
}

// Bytes of a row of the box within which the hardware permutes; 0 when it does not.
std::uint64_t span_of(TensorMapSwizzle swizzle) {
  constexpr std::uint64_t kSpans[] = {0, 32, 64, 128};
  return kSpans[static_cast<int>(swizzle)];
}

// The driver reports every broken rule as "invalid argument"; this says which.
void check_rules(const TensorMapRequest& request) {
  const auto require = [](bool holds, std::string_view what, auto value) {
    if (!holds) fail(ErrorKind::kInvalidArgument, "tensor map: {}, got {}", what, value);
  };
  require(request.rank >= 1 && request.rank <= kMaxTensorMapRank, "rank must be 1 to 5", request.rank);
  require(reinterpret_cast<std::uintptr_t>(request.address) % kAlignment == 0,
          "address must be a multiple of 16 bytes", request.address);
  for (int axis = 0; axis < request.rank; ++axis) {
    const auto i = static_cast<std::size_t>(axis);
    require(request.sizes[i] >= 1 && request.sizes[i] <= kMaxSize, "sizes must be 1 to 2^32",
            request.sizes[i]);
    require(request.box[i] >= 1 && request.box[i] <= kMaxBox, "box sizes must be 1 to 256", request.box[i]);
    if (axis + 1 == request.rank) break;
    require(request.strides_bytes[i] % kAlignment == 0 && request.strides_bytes[i] < kMaxStrideBytes,
            "strides must be multiples of 16 bytes below 2^40", request.strides_bytes[i]);
  }
  const std::uint64_t row = request.box[0] * bytes_of(request.type);
  require(row % kAlignment == 0, "the innermost box axis must be a multiple of 16 bytes", row);
  const std::uint64_t span = span_of(request.swizzle);
  require(span == 0 || row <= span, "the innermost box axis must not exceed the swizzle span in bytes", row);
}

TensorMap encode(const TensorMapRequest& request) {
  check_rules(request);
  constexpr std::uint32_t kUnitStrides[kMaxTensorMapRank] = {1, 1, 1, 1, 1};
  TensorMap map{};
  const ContextGuard context(request.device);
  check(driver().cuTensorMapEncodeTiled(
            &map, request.type, static_cast<std::uint32_t>(request.rank), const_cast<void*>(request.address),
            request.sizes.data(), request.strides_bytes.data(), request.box.data(), kUnitStrides,
            TensorMapInterleave::kNone, request.swizzle, request.promotion, TensorMapFill::kZero),
        "cuTensorMapEncodeTiled");
  return map;
}

// A direct-mapped memory: a request has one slot, and a newcomer replaces what is there.
struct Slot {
  TensorMapRequest request;  // rank 0: empty
  TensorMap map;
};
constexpr std::size_t kSlots = 64;

std::size_t slot_of(const TensorMapRequest& request) {
  std::uint64_t hash = reinterpret_cast<std::uintptr_t>(request.address) >> 4;
  for (std::size_t i = 0; i < request.sizes.size(); ++i)
    hash = (hash ^ request.sizes[i] ^ (std::uint64_t{request.box[i]} << 40)) * 0x9E3779B97F4A7C15;
  return hash >> 58;
}
static_assert(kSlots == std::size_t{1} << (64 - 58));

}  // namespace

TensorMap tensor_map(const TensorMapRequest& request) {
  if (rehearsal() != nullptr) return {};
  thread_local std::array<Slot, kSlots> memory;
  Slot& slot = memory[slot_of(request)];
  if (slot.request != request) {
    slot.map = encode(request);
    slot.request = request;
  }
  return slot.map;
}

}  // namespace strobe::cuda
