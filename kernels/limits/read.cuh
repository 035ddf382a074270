// Reads memory in order and keeps nothing: the benchmark's measure of what a GPU reads at most.
//
// A tile is kReadLoads loads of 16 bytes of every thread, kReadThreads apart, all under way at once; blocks
// take tiles in turn. Passes go over the same tiles again.
#include "limits/read_params.h"
#include "ptx/dependency.h"
#include "ptx/memory.h"

extern "C" __global__ void __launch_bounds__(strobe::kernel::kReadThreads)
    strobe_limits_read(const __grid_constant__ strobe::kernel::ReadParams params) {
  using namespace strobe::kernel;
  let_next_kernel_begin();
  wait_for_kernel_before();
  uint32_t mix = 0;
  for (int pass = 0; pass < params.passes; ++pass)
    for (int64_t tile = blockIdx.x; tile < params.tiles; tile += gridDim.x) {
      const char* from = params.data + tile * kReadTileBytes + threadIdx.x * 16;
      Access<16> x[kReadLoads];
#pragma unroll
      for (int i = 0; i < kReadLoads; ++i) x[i] = load<16>(from + i * kReadThreads * 16);
#pragma unroll
      for (int i = 0; i < kReadLoads; ++i) mix ^= x[i].word[0] ^ x[i].word[1] ^ x[i].word[2] ^ x[i].word[3];
    }
  if (mix == 0x5eed) *params.sink = mix;  // keeps the compiler from leaving out the loads
}
