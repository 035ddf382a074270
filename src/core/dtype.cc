#include "strobe/dtype.h"

#include <array>
#include <cmath>

#include "core/message.h"

namespace strobe::inline v1 {
namespace {

// A binary floating-point format of at most 16 bits.
struct Format {
  int exponent_bits;
  int mantissa_bits;
  bool has_infinity;  // false: the all-ones exponent holds numbers, and only the all-ones pattern is NaN
  bool saturates;     // finite values beyond the largest become the largest
  constexpr int bias() const { return (1 << (exponent_bits - 1)) - 1; }
  constexpr unsigned sign_bit() const { return 1u << (exponent_bits + mantissa_bits); }
  constexpr unsigned infinity() const { return ((1u << exponent_bits) - 1) << mantissa_bits; }
  constexpr unsigned nan() const {
    return has_infinity ? infinity() | (1u << (mantissa_bits - 1)) : sign_bit() - 1;
  }
  constexpr unsigned largest() const { return (has_infinity ? infinity() : nan()) - 1; }
};

constexpr Format kF16Format{5, 10, true, false};
constexpr Format kE4m3Format{4, 3, false, true};
constexpr Format kE5m2Format{5, 2, true, true};

// The nearest multiple of 2^-shift steps of `mantissa`, ties to even.
std::uint64_t round_shift(std::uint64_t mantissa, int shift) {
  const std::uint64_t half = std::uint64_t{1} << (shift - 1);
  const std::uint64_t low = mantissa & ((std::uint64_t{1} << shift) - 1);
  const std::uint64_t kept = mantissa >> shift;
  return kept + (low > half || (low == half && (kept & 1)) ? 1 : 0);
}

unsigned encode(float value, Format format) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const unsigned sign = bits >> 31 ? format.sign_bit() : 0;
  const int exponent = static_cast<int>((bits >> 23) & 0xff);
  const std::uint32_t fraction = bits & 0x7fffff;
  if (exponent == 0xff) {
    if (fraction != 0) return sign | format.nan();
    return sign | (format.has_infinity ? format.infinity() : format.largest());
  }
  // value = mantissa * 2^(scale - 23); the format's step is 2^(e - bias - mantissa_bits) at biased exponent e
  // >= 1.
  const std::uint64_t mantissa = exponent == 0 ? fraction : fraction | 0x800000;
  const int biased = std::max(exponent, 1) - 127 + format.bias();
  const int shift = 23 - format.mantissa_bits + (biased < 1 ? 1 - biased : 0);
  const std::uint64_t rounded = shift > 40 ? 0 : round_shift(mantissa, shift);
  // In units of the step a normal number has the implicit bit at mantissa_bits, so adding (biased - 1)
  // exponents carries.
  const std::uint64_t magnitude =
      rounded + (biased < 1 ? 0 : static_cast<std::uint64_t>(biased - 1) << format.mantissa_bits);
  if (magnitude > format.largest())
    return sign | (format.saturates || !format.has_infinity ? format.largest() : format.infinity());
  return sign | static_cast<unsigned>(magnitude);
}

constexpr float power_of_two(int exponent) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(exponent + 127) << 23);
}

float decode(unsigned bits, Format format) {
  const bool negative = bits & format.sign_bit();
  const unsigned magnitude = bits & (format.sign_bit() - 1);
  const unsigned exponent = magnitude >> format.mantissa_bits;
  const unsigned fraction = magnitude & ((1u << format.mantissa_bits) - 1);
  float value;
  if (format.has_infinity ? magnitude >= format.infinity() : magnitude == format.nan())
    value = format.has_infinity && fraction == 0 ? INFINITY : NAN;
  else if (exponent == 0)
    value = static_cast<float>(fraction) * power_of_two(1 - format.bias() - format.mantissa_bits);
  else
    value = std::bit_cast<float>((magnitude << (23 - format.mantissa_bits)) +
                                 (static_cast<unsigned>(127 - format.bias()) << 23));
  return negative ? -value : value;
}

}  // namespace

Bf16::Bf16(float value) {
  const auto bits32 = std::bit_cast<std::uint32_t>(value);
  bits = std::isnan(value) ? static_cast<std::uint16_t>((bits32 >> 16) | 0x40)
                           : static_cast<std::uint16_t>((bits32 + 0x7fff + ((bits32 >> 16) & 1)) >> 16);
}
F16::F16(float value) : bits(static_cast<std::uint16_t>(encode(value, kF16Format))) {}
F16::operator float() const { return decode(bits, kF16Format); }
E4m3::E4m3(float value) : bits(static_cast<std::uint8_t>(encode(value, kE4m3Format))) {}
E4m3::operator float() const { return decode(bits, kE4m3Format); }
E5m2::E5m2(float value) : bits(static_cast<std::uint8_t>(encode(value, kE5m2Format))) {}
E5m2::operator float() const { return decode(bits, kE5m2Format); }

namespace {

constexpr std::array<std::string_view, kDtypeCount> kNames = {"f32", "f16", "bf16", "e4m3", "e5m2",
                                                              "i8",  "u8",  "i32",  "i64",  "bool"};

struct Spelling {
  std::string_view text;
  Dtype dtype;
};

constexpr Spelling kSpellings[] = {
    {"float32", Dtype::kF32},   {"float", Dtype::kF32},        {"float16", Dtype::kF16},
    {"half", Dtype::kF16},      {"bfloat16", Dtype::kBf16},    {"float8_e4m3fn", Dtype::kE4m3},
    {"fp8_e4m3", Dtype::kE4m3}, {"float8_e5m2", Dtype::kE5m2}, {"fp8_e5m2", Dtype::kE5m2},
    {"int8", Dtype::kI8},       {"uint8", Dtype::kU8},         {"int32", Dtype::kI32},
    {"int64", Dtype::kI64},
};

}  // namespace

std::string_view name(Dtype dtype) { return kNames[static_cast<std::size_t>(dtype)]; }

Dtype parse_dtype(std::string_view text) {
  for (int i = 0; i < kDtypeCount; ++i)
    if (kNames[static_cast<std::size_t>(i)] == text) return static_cast<Dtype>(i);
  for (const Spelling& spelling : kSpellings)
    if (spelling.text == text) return spelling.dtype;
  fail(ErrorKind::kInvalidArgument, "dtype: expected one of {}, got '{}'", fmt::join(kNames, ", "), text);
}

}  // namespace strobe::inline v1
