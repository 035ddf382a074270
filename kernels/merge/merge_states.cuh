// Merges any number of attention states.
//
// A thread does one vector of a row (a token's head). It reads the row's log-sum-exps twice, for their
// maximum and for the weights; kAhead vectors of states are under way at a time.
//
// Constants: Dtype kType, kOutput; int kVector.
#include "merge/weights.h"
#include "ptx/dependency.h"
#include "tile/vector.h"

namespace strobe::kernel {

constexpr int kThreads = 256, kAhead = 4;

}  // namespace strobe::kernel

extern "C" __global__ void __launch_bounds__(strobe::kernel::kThreads, 4)
    strobe_merge_states(const __grid_constant__ strobe::kernel::MergeStatesParams params) {
  using namespace strobe::kernel;
  wait_for_kernel_before();
  const uint32_t index = blockIdx.x * kThreads + threadIdx.x;
  const uint32_t row = quotient(index, params.row_vectors),
                 vector = remainder(index, row, params.row_vectors);
  if (row >= params.rows) return;
  const RowPlace place(row, params.heads);
  const char* s = params.first.s + place.offset(params.first.s_stride);
  const char* v = params.first.v + place.offset(params.first.v_stride) +
                  static_cast<int64_t>(vector) * (kVector * size_of(kType));
  const auto lse = [&](int state) {
    return *reinterpret_cast<const float*>(s + state * params.state_s_stride);
  };
  float maximum = empty_lse();
  for (int state = 0; state < params.num_states; ++state) maximum = fmaxf(maximum, lse(state));
  let_next_kernel_begin();
  float sum[kVector] = {}, total = 0;
  for (int first = 0; first < params.num_states; first += kAhead) {
    Vector<kType, kVector> x[kAhead];
    float weight[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const float lse_i = first + i < params.num_states ? lse(first + i) : empty_lse();
      x[i] = {};
      // The v of an empty state may be anything: even 0 times it could be NaN.
      if (lse_i != empty_lse() && vector < params.head_vectors)
        load(x[i], v + (first + i) * params.state_v_stride);
      weight[i] = weight_of(lse_i, maximum);
    }
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      float values[kVector];
      unpack(x[i], values);
#pragma unroll
      for (int j = 0; j < kVector; ++j) sum[j] += weight[i] * values[j];
      total += weight[i];
    }
  }
  const float normalise = normaliser(total);
#pragma unroll
  for (float& value : sum) value *= normalise;
  if (vector < params.head_vectors)
    store(params.out.v + place.offset(params.out.v_stride) +
              static_cast<int64_t>(vector) * (kVector * size_of(kOutput)),
          pack<kOutput>(sum));
  if (vector == 0)
    *reinterpret_cast<float*>(params.out.s + place.offset(params.out.s_stride)) = merged_lse(maximum, total);
}
