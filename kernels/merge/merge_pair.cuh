// Merges two attention states, in place of one of them if wanted.
//
// A block does whole rows (a token's head each): all threads of a row read the row's two log-sum-exps before
// one of them writes the merged one, which may lie where they were.
//
// Constants: Dtype kType; int kVector.
#include "merge/weights.h"
#include "ptx/dependency.h"
#include "tile/vector.h"

namespace strobe::kernel {

constexpr int kThreads = 256;

// v = a v_a + b v_b. The v of a state that weighs nothing because it is empty may be anything, NaN too.
STROBE_DEVICE Vector<kType, kVector> blend(const Vector<kType, kVector>& v_a, float a,
                                           const Vector<kType, kVector>& v_b, float b, bool has_a,
                                           bool has_b) {
  float x[kVector], y[kVector];
  unpack(v_a, x);
  unpack(v_b, y);
#pragma unroll
  for (int i = 0; i < kVector; ++i) x[i] = (has_a ? a * x[i] : 0.0f) + (has_b ? b * y[i] : 0.0f);
  return pack<kType>(x);
}

}  // namespace strobe::kernel

extern "C" __global__ void __launch_bounds__(strobe::kernel::kThreads, 4)
    strobe_merge_pair(const __grid_constant__ strobe::kernel::MergePairParams params) {
  using namespace strobe::kernel;
  wait_for_kernel_before();
  const uint32_t first_row = blockIdx.x * params.block_rows;
  // A row of more vectors than the block has threads has the block to itself, and every thread several
  // vectors.
  const uint32_t of_block = quotient(threadIdx.x, params.row_vectors);
  const uint32_t row = first_row + of_block;
  const bool idle = of_block >= params.block_rows || row >= params.rows;
  const RowPlace place(idle ? first_row : row, params.heads);
  const bool kept = idle || (params.mask != nullptr && params.mask[place.token * params.mask_stride] == 0);
  const char* from_a = params.a.v + place.offset(params.a.v_stride);
  const char* from_b = params.b.v + place.offset(params.b.v_stride);
  char* to = params.out.v + place.offset(params.out.v_stride);
  const uint32_t first_vector = remainder(threadIdx.x, of_block, params.row_vectors);
  const auto column = [](uint32_t vector) {
    return static_cast<int64_t>(vector) * (kVector * size_of(kType));
  };
  Vector<kType, kVector> v_a, v_b;
  if (!kept && first_vector < params.head_vectors) {
    load(v_a, from_a + column(first_vector));
    load(v_b, from_b + column(first_vector));
  }
  const float s_a = *reinterpret_cast<const float*>(params.a.s + place.offset(params.a.s_stride));
  const float s_b = *reinterpret_cast<const float*>(params.b.s + place.offset(params.b.s_stride));
  let_next_kernel_begin();
  __syncthreads();
  const float maximum = s_b > s_a ? s_b : s_a;
  const float a = weight_of(s_a, maximum), b = weight_of(s_b, maximum), total = a + b;
  const float normalise = normaliser(total);
  const bool has_a = s_a != empty_lse(), has_b = s_b != empty_lse();
  if (kept) return;
  for (uint32_t vector = first_vector; vector < params.head_vectors; vector += kThreads) {
    if (vector != first_vector) {
      load(v_a, from_a + column(vector));
      load(v_b, from_b + column(vector));
    }
    store(to + column(vector), blend(v_a, a * normalise, v_b, b * normalise, has_a, has_b));
  }
  if (first_vector == 0)
    *reinterpret_cast<float*>(params.out.s + place.offset(params.out.s_stride)) = merged_lse(maximum, total);
}
