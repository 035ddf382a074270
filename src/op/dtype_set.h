// Which dtypes an operand may have.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "strobe/dtype.h"

namespace strobe::op {

struct DtypeSet {
  std::uint16_t bits = 0;
  constexpr DtypeSet() = default;
  constexpr DtypeSet(std::initializer_list<Dtype> dtypes) {
    for (Dtype dtype : dtypes) bits |= static_cast<std::uint16_t>(1u << static_cast<int>(dtype));
  }
  constexpr DtypeSet(Dtype dtype) : DtypeSet({dtype}) {}  // NOLINT: a single dtype is a set
  constexpr bool contains(Dtype dtype) const { return bits >> static_cast<int>(dtype) & 1; }
  constexpr int count() const { return __builtin_popcount(bits); }
  constexpr Dtype first() const { return static_cast<Dtype>(__builtin_ctz(bits)); }
};

inline constexpr DtypeSet kFloats = {Dtype::kF32, Dtype::kF16, Dtype::kBf16};
inline constexpr DtypeSet kFp8 = {Dtype::kE4m3, Dtype::kE5m2};
inline constexpr DtypeSet kFloatsAndFp8 = {Dtype::kF32, Dtype::kF16, Dtype::kBf16, Dtype::kE4m3,
                                           Dtype::kE5m2};

std::string to_string(DtypeSet set);  // "f32, f16 or bf16"

// The names of all dtypes, as the choices of an attribute that holds one.
std::vector<std::string_view> dtype_names();

}  // namespace strobe::op
