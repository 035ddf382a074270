// The part of tvm-ffi's C ABI that Strobe speaks, as structs of its own: nothing of tvm-ffi is included or
// linked. StrobeValue is its TVMFFIAny, StrobeTensor is DLPack's DLTensor. tests/tvm_abi_test.py holds sizes,
// offsets and numbers against the installed headers of apache-tvm-ffi.
#pragma once

#include <cstddef>
#include <cstdint>

#include "strobe/c_api.h"

namespace strobe::ffi::tvm {

// TVMFFITypeIndex, beyond the kinds of StrobeValue.
enum Kind : std::int32_t {
  kOpaquePtr = 4,
  kSmallStr = 11,  // up to 7 bytes in the value itself; `reserved` is their number
  kStr = 65,       // an object: ObjectHeader, ByteArray
  kFunction = 68,
  kTensor = 70,  // an object: ObjectHeader, DLTensor
};

struct ObjectHeader {  // TVMFFIObject
  std::uint64_t reference_counts;
  std::int32_t type_index;
  std::uint32_t padding;
  void (*deleter)(void* self, int flags);
};

struct ByteArray {  // TVMFFIByteArray
  const char* data;
  std::size_t size;
};

struct Version {  // TVMFFIVersion
  std::uint32_t major, minor, patch;
};

using SafeCall = int (*)(void* self, const StrobeValue* args, std::int32_t count, StrobeValue* result);

static_assert(sizeof(StrobeValue) == 16 && offsetof(StrobeValue, as) == 8);
static_assert(sizeof(ObjectHeader) == 24 && sizeof(ByteArray) == 16 && sizeof(Version) == 12);
static_assert(sizeof(StrobeTensor) == 48 && offsetof(StrobeTensor, dtype_code) == 20 &&
              offsetof(StrobeTensor, byte_offset) == 40);

}  // namespace strobe::ffi::tvm
