// Gated activations: one half of a row, activated, times the other half.
//
// The output's vectors are numbered through all rows; a thread has kItems of them, kThreads apart, and loads
// both halves of all before it computes: 128 bytes under way with kItems = 4 and 16-byte vectors, and 128 KiB
// on an SM of 1024 threads.
//
// Constants: ActivationFunction kFunction; Dtype kType; int kVector, kItems.
#include "activation/activation_params.h"
#include "ptx/dependency.h"
#include "tile/vector.h"

namespace strobe::kernel {

constexpr int kThreads = 256;

// x / (1 + exp(-x)); NaN for -Inf, as infinity times 0.
STROBE_DEVICE float silu(float x) { return __fdividef(x, 1.0f + __expf(-x)); }

STROBE_DEVICE float activate(float x) {
  if constexpr (kFunction == ActivationFunction::kSilu) {
    return silu(x);
  } else if constexpr (kFunction == ActivationFunction::kGelu) {
    constexpr float kRootHalf = 0.70710678f;
    return 0.5f * x * (1.0f + erff(x * kRootHalf));
  } else {
    // (1 + tanh(u)) / 2 = 1 / (1 + exp(-2 u)).
    constexpr float kTwoRootTwoOverPi = 1.5957691f;
    return __fdividef(x, 1.0f + __expf(-kTwoRootTwoOverPi * (x + 0.044715f * x * x * x)));
  }
}

}  // namespace strobe::kernel

extern "C" __global__ void __launch_bounds__(strobe::kernel::kThreads, 4)
    strobe_gated(const __grid_constant__ strobe::kernel::GatedParams params) {
  using namespace strobe::kernel;
  let_next_kernel_begin();
  wait_for_kernel_before();
  Vector<kType, kVector> gate[kItems], factor[kItems];
  char* out[kItems];
#pragma unroll
  for (int item = 0; item < kItems; ++item) {
    const uint32_t vector = (blockIdx.x * kItems + item) * kThreads + threadIdx.x;
    out[item] = nullptr;
    if (vector >= params.vectors) continue;
    const uint32_t row = quotient(vector, params.row_vectors);
    const int64_t column = remainder(vector, row, params.row_vectors) * (kVector * size_of(kType));
    const char* input = row_of(params.input, params.inner_rows, params.first_row + row) + column;
    out[item] = row_of(params.out, params.inner_rows, params.first_row + row) + column;
    load<Reuse::kNone>(gate[item], input);
    load<Reuse::kNone>(factor[item], input + params.second_half);
  }
#pragma unroll
  for (int item = 0; item < kItems; ++item) {
    if (out[item] == nullptr) continue;
    float x[kVector], y[kVector];
    unpack(gate[item], x);
    unpack(factor[item], y);
#pragma unroll
    for (int i = 0; i < kVector; ++i) x[i] = activate(x[i]) * y[i];
    store(out[item], pack<kType>(x));
  }
}
