// One ISA level's part of cpu_simd_test.cc.
#include "cpu_simd_test_level.h"

#include "cpu/simd.h"
#include "cpu/simd_row.h"

namespace strobe::cpu::STROBE_ISA {
namespace {

template <class Function>
STROBE_INLINE void with_type(Dtype dtype, Function function) {
  if (dtype == Dtype::kF32) function(float{});
  if (dtype == Dtype::kF16) function(f16_t{});
  if (dtype == Dtype::kBf16) function(bf16_t{});
  if (dtype == Dtype::kE4m3) function(e4m3_t{});
  if (dtype == Dtype::kE5m2) function(e5m2_t{});
}

STROBE_INLINE F32 apply(SimdFunction function, F32 x) {
  switch (function) {
    case SimdFunction::kExp2:
      return exp2(x);
    case SimdFunction::kExp2For16Bits:
      return exp2_for_16_bits(x);
    case SimdFunction::kLog2:
      return log2(x);
    case SimdFunction::kTanh:
      return tanh(x);
    case SimdFunction::kErfcOfPositive:
      return erfc_of_positive(x);
    case SimdFunction::kErf:
      return erf(x);
    case SimdFunction::kNormalTailFor16Bits: {
      F32 tail[] = {x};
      normal_tail_for_16_bits_each(tail);
      return tail[0];
    }
    case SimdFunction::kSqrt:
      return sqrt(x);
    case SimdFunction::kRsqrt:
      return rsqrt(x);
    case SimdFunction::kRoundEven:
      return round_even(x);
  }
  return x;
}

}  // namespace

int simd_test_lanes() { return kLanes; }

void simd_test_load(Dtype dtype, bool row, const void* in, float* out, size_t count) {
  with_type(dtype, [&](auto tag) {
    using T = decltype(tag);
    const T* from = static_cast<const T*>(in);
    if (row)
      return for_each_vectors<T, 2>(
          static_cast<int64_t>(count), [=](auto access, int64_t i) __attribute__((always_inline)) {
            F32 x[access.kVectors];
            access.load(from + i, x);
            access.template store<false>(out + i, x);
          });
    for (size_t i = 0; i < count; i += kLanes) store(out + i, load(from + i));
  });
}

void simd_test_store(Dtype dtype, SimdStore how, const float* in, void* out, size_t count) {
  with_type(dtype, [&](auto tag) {
    using T = decltype(tag);
    T* to = static_cast<T*>(out);
    if (how == SimdStore::kRow)
      return for_each_vectors<T, 2>(
          static_cast<int64_t>(count), [=](auto access, int64_t i) __attribute__((always_inline)) {
            F32 x[access.kVectors];
            access.load(in + i, x);
            access.template store<false>(to + i, x);
          });
    for (size_t i = 0; i < count; i += kLanes) {
      if (how == SimdStore::kFull)
        store(to + i, load(in + i));
      else
        stream(to + i, load(in + i));
    }
  });
  stream_fence();
}

void simd_test_load_n(Dtype dtype, const void* in, float* lanes, int n) {
  with_type(dtype, [&](auto tag) { store(lanes, load_n(static_cast<const decltype(tag)*>(in), n)); });
}

void simd_test_store_n(Dtype dtype, const float* in, void* out, int n) {
  with_type(dtype, [&](auto tag) { store_n(static_cast<decltype(tag)*>(out), load(in), n); });
}

void simd_test_map(SimdFunction function, const float* in, float* out, size_t count) {
  for (size_t i = 0; i < count; i += kLanes) store(out + i, apply(function, load(in + i)));
}

void simd_test_compare(const float* a, const float* b, float* out) {
  const F32 x = load(a), y = load(b);
  store(out, min(x, y));
  store(out + kLanes, max(x, y));
  store(out + 2 * kLanes, select(x < y, x, y));
}

void simd_test_reduce(const float* in, float* sum, float* maximum, bool* positive) {
  *sum = reduce_add(load(in));
  *maximum = reduce_max(load(in));
  *positive = any(load(in) > 0.0f);
}

}  // namespace strobe::cpu::STROBE_ISA
