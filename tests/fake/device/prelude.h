// The words of CUDA that the kernels use, for the host's compiler. The stand-in for NVRTC
// (tests/fake/compiler) includes this file before every translation unit.
//
// The code is compiled with -fsanitize=thread, whose run-time library is the last part of this file: every
// access to memory goes to the driver first, which knows what the thread may touch.
#pragma once

#include "machine.h"

#define __global__
#define __device__
#define __host__
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
// One block runs at a time, and its variables are the module's thread-local block: the driver finds it, and
// what it holds, by the program header.
#define __shared__ static thread_local

// What belongs to the emulation is not itself watched.
#define EMULATED __attribute__((no_sanitize("thread"), unused)) static

namespace emulated {

Machine* machine;

EMULATED Index3 thread_index() { return machine->thread; }
EMULATED Index3 block_index() { return machine->block; }
EMULATED Index3 block_dim() { return machine->block_dim; }
EMULATED Index3 grid_dim() { return machine->grid_dim; }
EMULATED char* dynamic_shared() { return machine->dynamic_shared; }

template <class To, class From>
EMULATED To bits_as(From from) {
  return __builtin_bit_cast(To, from);
}

// Of __launch_bounds__(threads, blocks, clusters).
constexpr int most_threads(int threads = 1024, int = 0, int = 0) { return threads; }

template <class Params>
Params params_of(void (*)(Params));

template <auto kKernel>
EMULATED void call(const void* params) {
  kKernel(*static_cast<const decltype(params_of(kKernel))*>(params));
}

}  // namespace emulated

#define threadIdx (::emulated::thread_index())
#define blockIdx (::emulated::block_index())
#define blockDim (::emulated::block_dim())
#define gridDim (::emulated::grid_dim())

struct alignas(8) float2 {
  float x, y;
};

struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};

extern "C" {
float erff(float), exp2f(float), tanhf(float), expf(float), fabsf(float), fmaf(float, float, float),
    fmaxf(float, float), fminf(float, float), log2f(float), logf(float), nearbyintf(float), sqrtf(float);
}

EMULATED int min(int a, int b) { return a < b ? a : b; }
EMULATED int max(int a, int b) { return a < b ? b : a; }
EMULATED unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
EMULATED unsigned max(unsigned a, unsigned b) { return a < b ? b : a; }
EMULATED long long min(long long a, long long b) { return a < b ? a : b; }
EMULATED long long max(long long a, long long b) { return a < b ? b : a; }

EMULATED float rsqrtf(float x) { return 1.0f / sqrtf(x); }
EMULATED float __expf(float x) { return expf(x); }
EMULATED unsigned long long __float2ull_rn(float x) { return static_cast<unsigned long long>(nearbyintf(x)); }
EMULATED unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>((static_cast<unsigned __int128>(a) * b) >> 64);
}
EMULATED float __fadd_rn(float a, float b) { return a + b; }
// A reciprocal and a product on a GPU: beyond 2^126 the reciprocal is 0.
EMULATED float __fdividef(float x, float y) { return fabsf(y) > 0x1p126f ? x * 0.0f : x / y; }
EMULATED unsigned __float_as_uint(float x) { return emulated::bits_as<unsigned>(x); }
EMULATED float __uint_as_float(unsigned x) { return emulated::bits_as<float>(x); }
EMULATED float __int_as_float(int x) { return emulated::bits_as<float>(x); }

EMULATED int __popc(unsigned x) { return __builtin_popcount(x); }

// Byte i of the result is the one of (x, y)'s eight that hexadecimal digit i of `digits` names.
EMULATED unsigned __byte_perm(unsigned x, unsigned y, unsigned digits) {
  const unsigned long long both = static_cast<unsigned long long>(y) << 32 | x;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i)
    result |= static_cast<unsigned>(both >> (digits >> 4 * i & 7) * 8 & 0xff) << 8 * i;
  return result;
}

EMULATED void __syncthreads() { emulated::machine->wait_for_block(); }
EMULATED int __syncthreads_or(int vote) {
  static unsigned votes;  // for, of all calls
  __syncthreads();
  const unsigned before = votes;
  __syncthreads();
  if (vote != 0) ++votes;
  __syncthreads();
  return votes != before;
}
EMULATED void __syncwarp() { emulated::machine->sync_warp(); }

namespace emulated {

struct Exchange {
  unsigned value, source, received;
};

// Of a lane that does not take part a GPU gives any value.
EMULATED void exchange_values(void* const* lanes) {
  for (int lane = 0; lane < 32; ++lane)
    if (lanes[lane] != nullptr) {
      auto* mine = static_cast<Exchange*>(lanes[lane]);
      if (lanes[mine->source] == nullptr)
        machine->fail("wants the value of a lane that does not take part");
      else
        mine->received = static_cast<const Exchange*>(lanes[mine->source])->value;
    }
}

EMULATED unsigned value_of_lane(unsigned lanes, unsigned value, unsigned source) {
  Exchange mine{value, source % 32, 0};
  machine->meet(lanes, &mine, exchange_values);
  return mine.received;
}

struct Vote {
  bool mine;
  unsigned all;  // a bit for each lane
};

EMULATED void count_votes(void* const* lanes) {
  unsigned all = 0;
  for (int lane = 0; lane < 32; ++lane)
    if (lanes[lane] != nullptr && static_cast<const Vote*>(lanes[lane])->mine) all |= 1u << lane;
  for (int lane = 0; lane < 32; ++lane)
    if (lanes[lane] != nullptr) static_cast<Vote*>(lanes[lane])->all = all;
}

EMULATED unsigned lane_index() { return machine->thread.x % 32; }

}  // namespace emulated

EMULATED float __shfl_xor_sync(unsigned lanes, float x, int distance) {
  return __uint_as_float(
      emulated::value_of_lane(lanes, __float_as_uint(x), emulated::lane_index() ^ distance));
}
EMULATED unsigned __shfl_xor_sync(unsigned lanes, unsigned x, int distance) {
  return emulated::value_of_lane(lanes, x, emulated::lane_index() ^ distance);
}
EMULATED unsigned __shfl_up_sync(unsigned lanes, unsigned x, unsigned distance) {
  const unsigned lane = emulated::lane_index();
  return emulated::value_of_lane(lanes, x, lane < distance ? lane : lane - distance);
}
EMULATED unsigned __shfl_down_sync(unsigned lanes, unsigned x, unsigned distance) {
  const unsigned lane = emulated::lane_index();
  return emulated::value_of_lane(lanes, x, lane + distance < 32 ? lane + distance : lane);
}
EMULATED unsigned __shfl_sync(unsigned lanes, unsigned x, int source) {
  return emulated::value_of_lane(lanes, x, static_cast<unsigned>(source));
}
EMULATED int __shfl_sync(unsigned lanes, int x, int source) {
  return static_cast<int>(emulated::value_of_lane(lanes, static_cast<unsigned>(x), source));
}
EMULATED unsigned __ballot_sync(unsigned lanes, bool vote) {
  emulated::Vote mine{vote, 0};
  emulated::machine->meet(lanes, &mine, emulated::count_votes);
  return mine.all;
}
EMULATED bool __any_sync(unsigned lanes, bool vote) { return __ballot_sync(lanes, vote) != 0; }
// 1 plus the number of the lowest bit that is set; 0: none.
EMULATED int __ffs(unsigned x) { return __builtin_ffs(static_cast<int>(x)); }

// The calls that -fsanitize=thread makes. Sixteen bytes come with the alignment of eight as with that of
// sixteen.
#define EMULATED_HOOK extern "C" __attribute__((no_sanitize("thread"))) void
#define EMULATED_HOOKS(bytes, alignment)                         \
  EMULATED_HOOK __tsan_read##bytes(void* address) {              \
    emulated::machine->access(address, bytes, alignment, false); \
  }                                                              \
  EMULATED_HOOK __tsan_write##bytes(void* address) {             \
    emulated::machine->access(address, bytes, alignment, true);  \
  }                                                              \
  EMULATED_HOOK __tsan_unaligned_read##bytes(void* address) {    \
    emulated::machine->access(address, bytes, 1, false);         \
  }                                                              \
  EMULATED_HOOK __tsan_unaligned_write##bytes(void* address) {   \
    emulated::machine->access(address, bytes, 1, true);          \
  }
EMULATED_HOOKS(1, 1)
EMULATED_HOOKS(2, 2)
EMULATED_HOOKS(4, 4)
EMULATED_HOOKS(8, 8)
EMULATED_HOOKS(16, 8)
EMULATED_HOOK __tsan_read_range(void* address, unsigned long bytes) {
  emulated::machine->access(address, bytes, 1, false);
}
EMULATED_HOOK __tsan_write_range(void* address, unsigned long bytes) {
  emulated::machine->access(address, bytes, 1, true);
}
EMULATED_HOOK __tsan_init() {}
EMULATED_HOOK __tsan_func_entry(void*) {}
EMULATED_HOOK __tsan_func_exit() {}
