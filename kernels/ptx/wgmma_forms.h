// The forms of wgmma that kernels use, for ptx/wgmma.h: m64 nN with f32 sums, k16 of f16 and bf16, k32 of
// e4m3. The instruction needs its registers spelled, in the text by their numbers and as operands.
#pragma once

#include "tile/dtype.h"
#include "tile/ints.h"

namespace strobe::kernel {

template <int kN>
struct ProductForm;

#define STROBE_TEXT_0 "%0, %1, %2, %3, %4, %5, %6, %7"
#define STROBE_TEXT_8 "%8, %9, %10, %11, %12, %13, %14, %15"
#define STROBE_TEXT_16 "%16, %17, %18, %19, %20, %21, %22, %23"
#define STROBE_TEXT_24 "%24, %25, %26, %27, %28, %29, %30, %31"
#define STROBE_TEXT_32 "%32, %33, %34, %35, %36, %37, %38, %39"
#define STROBE_TEXT_40 "%40, %41, %42, %43, %44, %45, %46, %47"
#define STROBE_TEXT_48 "%48, %49, %50, %51, %52, %53, %54, %55"
#define STROBE_TEXT_56 "%56, %57, %58, %59, %60, %61, %62, %63"
#define STROBE_TEXT_64 "%64, %65, %66, %67, %68, %69, %70, %71"
#define STROBE_TEXT_72 "%72, %73, %74, %75, %76, %77, %78, %79"
#define STROBE_TEXT_80 "%80, %81, %82, %83, %84, %85, %86, %87"
#define STROBE_TEXT_88 "%88, %89, %90, %91, %92, %93, %94, %95"
#define STROBE_TEXT_96 "%96, %97, %98, %99, %100, %101, %102, %103"
#define STROBE_TEXT_104 "%104, %105, %106, %107, %108, %109, %110, %111"
#define STROBE_TEXT_112 "%112, %113, %114, %115, %116, %117, %118, %119"
#define STROBE_TEXT_120 "%120, %121, %122, %123, %124, %125, %126, %127"
#define STROBE_SUMS(i)                                                                        \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), \
      "+f"(d[i + 6]), "+f"(d[i + 7])

// `shape`: depth and types; `across`: which operands lie across K, f16's and bf16's alone; `text` and `sums`:
// the registers of D; #0 … #5: the numbers of the operands that follow them.
#define STROBE_PRODUCT_SHARED(n, shape, across, text, sums, i0, i1, i2)                    \
  asm volatile("{ .reg .pred add; setp.ne.b32 add, %" #i2                                  \
               ", 0;\n"                                                                    \
               "wgmma.mma_async.sync.aligned.m64n" #n shape " {" text "}, %" #i0 ", %" #i1 \
               ", add, 1, 1" across "; }"                                                  \
               : sums                                                                      \
               : "l"(a), "l"(b), "r"(add))
#define STROBE_PRODUCT_REGISTERS(n, shape, across, text, sums, i0, i1, i2, i3, i4, i5)                \
  asm volatile("{ .reg .pred add; setp.ne.b32 add, %" #i5                                             \
               ", 0;\n"                                                                               \
               "wgmma.mma_async.sync.aligned.m64n" #n shape " {" text "}, {%" #i0 ", %" #i1 ", %" #i2 \
               ", %" #i3 "}, %" #i4 ", add, 1, 1" across "; }"                                        \
               : sums                                                                                 \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add))
// shared: A and B along K; registers: A in registers, B across K, of e4m3 along K.
#define STROBE_PRODUCT_FORM(n, text, sums, i0, i1, i2, i3, i4, i5)                                          \
  template <>                                                                                               \
  struct ProductForm<n> {                                                                                   \
    template <Dtype kType>                                                                                  \
    static __device__ __forceinline__ void shared(float (&d)[n / 2], uint64_t a, uint64_t b, int add) {     \
      if constexpr (kType == Dtype::kE4m3)                                                                  \
        STROBE_PRODUCT_SHARED(n, "k32.f32.e4m3.e4m3", "", text, STROBE_LIST sums, i0, i1, i2);              \
      else if constexpr (kType == Dtype::kBf16)                                                             \
        STROBE_PRODUCT_SHARED(n, "k16.f32.bf16.bf16", ", 0, 0", text, STROBE_LIST sums, i0, i1, i2);        \
      else                                                                                                  \
        STROBE_PRODUCT_SHARED(n, "k16.f32.f16.f16", ", 0, 0", text, STROBE_LIST sums, i0, i1, i2);          \
    }                                                                                                       \
    template <Dtype kType>                                                                                  \
    static __device__ __forceinline__ void registers(float (&d)[n / 2], const uint32_t (&a)[4], uint64_t b, \
                                                     int add) {                                             \
      if constexpr (kType == Dtype::kE4m3)                                                                  \
        STROBE_PRODUCT_REGISTERS(n, "k32.f32.e4m3.e4m3", "", text, STROBE_LIST sums, i0, i1, i2, i3, i4,    \
                                 i5);                                                                       \
      else if constexpr (kType == Dtype::kBf16)                                                             \
        STROBE_PRODUCT_REGISTERS(n, "k16.f32.bf16.bf16", ", 1", text, STROBE_LIST sums, i0, i1, i2, i3, i4, \
                                 i5);                                                                       \
      else                                                                                                  \
        STROBE_PRODUCT_REGISTERS(n, "k16.f32.f16.f16", ", 1", text, STROBE_LIST sums, i0, i1, i2, i3, i4,   \
                                 i5);                                                                       \
    }                                                                                                       \
  };
#define STROBE_LIST(...) __VA_ARGS__

STROBE_PRODUCT_FORM(64, STROBE_TEXT_0 ", " STROBE_TEXT_8 ", " STROBE_TEXT_16 ", " STROBE_TEXT_24,
                    (STROBE_SUMS(0), STROBE_SUMS(8), STROBE_SUMS(16), STROBE_SUMS(24)), 32, 33, 34, 35, 36,
                    37)
STROBE_PRODUCT_FORM(80,
                    STROBE_TEXT_0 ", " STROBE_TEXT_8 ", " STROBE_TEXT_16 ", " STROBE_TEXT_24
                                  ", " STROBE_TEXT_32,
                    (STROBE_SUMS(0), STROBE_SUMS(8), STROBE_SUMS(16), STROBE_SUMS(24), STROBE_SUMS(32)), 40,
                    41, 42, 43, 44, 45)
STROBE_PRODUCT_FORM(96,
                    STROBE_TEXT_0 ", " STROBE_TEXT_8 ", " STROBE_TEXT_16 ", " STROBE_TEXT_24
                                  ", " STROBE_TEXT_32 ", " STROBE_TEXT_40,
                    (STROBE_SUMS(0), STROBE_SUMS(8), STROBE_SUMS(16), STROBE_SUMS(24), STROBE_SUMS(32),
                     STROBE_SUMS(40)),
                    48, 49, 50, 51, 52, 53)
STROBE_PRODUCT_FORM(128,
                    STROBE_TEXT_0 ", " STROBE_TEXT_8 ", " STROBE_TEXT_16 ", " STROBE_TEXT_24
                                  ", " STROBE_TEXT_32 ", " STROBE_TEXT_40 ", " STROBE_TEXT_48
                                  ", " STROBE_TEXT_56,
                    (STROBE_SUMS(0), STROBE_SUMS(8), STROBE_SUMS(16), STROBE_SUMS(24), STROBE_SUMS(32),
                     STROBE_SUMS(40), STROBE_SUMS(48), STROBE_SUMS(56)),
                    64, 65, 66, 67, 68, 69)
STROBE_PRODUCT_FORM(256,
                    STROBE_TEXT_0 ", " STROBE_TEXT_8 ", " STROBE_TEXT_16 ", " STROBE_TEXT_24
                                  ", " STROBE_TEXT_32 ", " STROBE_TEXT_40 ", " STROBE_TEXT_48
                                  ", " STROBE_TEXT_56 ", " STROBE_TEXT_64 ", " STROBE_TEXT_72
                                  ", " STROBE_TEXT_80 ", " STROBE_TEXT_88 ", " STROBE_TEXT_96
                                  ", " STROBE_TEXT_104 ", " STROBE_TEXT_112 ", " STROBE_TEXT_120,
                    (STROBE_SUMS(0), STROBE_SUMS(8), STROBE_SUMS(16), STROBE_SUMS(24), STROBE_SUMS(32),
                     STROBE_SUMS(40), STROBE_SUMS(48), STROBE_SUMS(56), STROBE_SUMS(64), STROBE_SUMS(72),
                     STROBE_SUMS(80), STROBE_SUMS(88), STROBE_SUMS(96), STROBE_SUMS(104), STROBE_SUMS(112),
                     STROBE_SUMS(120)),
                    128, 129, 130, 131, 132, 133)

#undef STROBE_PRODUCT_FORM
#undef STROBE_PRODUCT_REGISTERS
#undef STROBE_PRODUCT_SHARED
#undef STROBE_LIST
#undef STROBE_SUMS
#undef STROBE_TEXT_0
#undef STROBE_TEXT_8
#undef STROBE_TEXT_16
#undef STROBE_TEXT_24
#undef STROBE_TEXT_32
#undef STROBE_TEXT_40
#undef STROBE_TEXT_48
#undef STROBE_TEXT_56
#undef STROBE_TEXT_64
#undef STROBE_TEXT_72
#undef STROBE_TEXT_80
#undef STROBE_TEXT_88
#undef STROBE_TEXT_96
#undef STROBE_TEXT_104
#undef STROBE_TEXT_112
#undef STROBE_TEXT_120

}  // namespace strobe::kernel
