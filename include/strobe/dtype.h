// Element types and their storage structs.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "strobe/export.h"

namespace strobe::inline v1 {

enum class Dtype : std::uint8_t { kF32, kF16, kBf16, kE4m3, kE5m2, kI8, kU8, kI32, kI64, kBool };
inline constexpr int kDtypeCount = 10;

// Bytes of one element.
constexpr std::size_t size_of(Dtype dtype) {
  constexpr std::size_t kBytes[kDtypeCount] = {4, 2, 2, 1, 1, 1, 1, 4, 8, 1};
  return kBytes[static_cast<int>(dtype)];
}

// "f32", "f16", "bf16", "e4m3", "e5m2", "i8", "u8", "i32", "i64", "bool".
STROBE_API std::string_view name(Dtype dtype);

// The dtype of that name; also "float32", "float16", "half", "bfloat16", "float8_e4m3fn", "fp8_e4m3", … as
// frameworks spell them. Throws Error(kInvalidArgument) that lists the names.
STROBE_API Dtype parse_dtype(std::string_view text);

// Storage of the 16- and 8-bit floats: the bits, with conversions that round to nearest, ties to even.
// e4m3 is the "fn" format: no infinity, one NaN, largest finite 448; a value beyond it becomes ±448
// (saturates), as inference engines expect of a quantised cache. e5m2 saturates to ±57344 likewise;
// infinities stay infinite.
struct Bf16 {
  std::uint16_t bits = 0;
  Bf16() = default;
  STROBE_API explicit Bf16(float value);
  explicit operator float() const { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }
};

struct F16 {
  std::uint16_t bits = 0;
  F16() = default;
  STROBE_API explicit F16(float value);
  STROBE_API explicit operator float() const;
};

struct E4m3 {
  std::uint8_t bits = 0;
  E4m3() = default;
  STROBE_API explicit E4m3(float value);
  STROBE_API explicit operator float() const;
};

struct E5m2 {
  std::uint8_t bits = 0;
  E5m2() = default;
  STROBE_API explicit E5m2(float value);
  STROBE_API explicit operator float() const;
};

// Dtype of a C++ element type: dtype_of<float>, dtype_of<Bf16>, …
template <class T>
struct DtypeOf;
template <>
struct DtypeOf<float> {
  static constexpr Dtype value = Dtype::kF32;
};
template <>
struct DtypeOf<F16> {
  static constexpr Dtype value = Dtype::kF16;
};
template <>
struct DtypeOf<Bf16> {
  static constexpr Dtype value = Dtype::kBf16;
};
template <>
struct DtypeOf<E4m3> {
  static constexpr Dtype value = Dtype::kE4m3;
};
template <>
struct DtypeOf<E5m2> {
  static constexpr Dtype value = Dtype::kE5m2;
};
template <>
struct DtypeOf<std::int8_t> {
  static constexpr Dtype value = Dtype::kI8;
};
template <>
struct DtypeOf<std::uint8_t> {
  static constexpr Dtype value = Dtype::kU8;
};
template <>
struct DtypeOf<std::int32_t> {
  static constexpr Dtype value = Dtype::kI32;
};
template <>
struct DtypeOf<std::int64_t> {
  static constexpr Dtype value = Dtype::kI64;
};
template <>
struct DtypeOf<bool> {
  static constexpr Dtype value = Dtype::kBool;
};
template <class T>
inline constexpr Dtype dtype_of = DtypeOf<T>::value;

}  // namespace strobe::inline v1
