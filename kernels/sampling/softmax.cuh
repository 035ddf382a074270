// Softmax of rows of logits that a cluster holds in its registers: they are read once and written once.
//
// Thread t of block r has the vectors (r * kSteps + i) * kThreads + t of the row, i < kSteps. All of them are
// on their way at once; then come the largest, the exponentials and their sum, which is one of integers, so
// that neither the cut nor the order changes it.
//
// Constants: Dtype kInput; int kVector, kSteps, kCluster.
#include "sampling/sampling_kind.h"

constexpr strobe::kernel::TokenSource kSource = strobe::kernel::TokenSource::kLogits;
constexpr bool kRowLengths = false;
constexpr int kBatchValues = 8;

#include "ptx/dependency.h"
#include "sampling/shared.cuh"
#include "sampling/softmax_params.h"

namespace strobe::kernel {

struct SoftmaxShared {
  float warp_largest[kWarps], rank_largest[kCluster];
  uint64_t warp_sum[kWarps], rank_sum[kCluster];
};
static_assert(sizeof(SoftmaxShared) <= kSoftmaxSharedBytes);

// Of the row. NaN counts as +Inf: both spoil it.
STROBE_DEVICE float row_largest(float largest, SoftmaxShared& shared) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2)
    largest = fmaxf(largest, __shfl_xor_sync(0xffffffff, largest, distance));
  if (lane_of_thread() == 0) shared.warp_largest[warp_of_thread()] = largest;
  wait_for_all();  // all blocks of the cluster have begun, too
  if (threadIdx.x < kCluster) {
    for (int warp = 0; warp < kWarps; ++warp) largest = fmaxf(largest, shared.warp_largest[warp]);
    tell(shared.rank_largest[cluster_rank()], threadIdx.x, largest);
  }
  wait_for_all();
  for (int rank = 0; rank < kCluster; ++rank) largest = fmaxf(largest, shared.rank_largest[rank]);
  return largest;
}

STROBE_DEVICE uint64_t row_sum(uint64_t sum, SoftmaxShared& shared) {
  sum = sum_of_lanes(sum);
  if (lane_of_thread() == 0) shared.warp_sum[warp_of_thread()] = sum;
  __syncthreads();
  if (threadIdx.x < kCluster) {
    sum = 0;
    for (int warp = 0; warp < kWarps; ++warp) sum += shared.warp_sum[warp];
    tell(shared.rank_sum[cluster_rank()], threadIdx.x, sum);
  }
  wait_for_all();
  sum = 0;
  for (int rank = 0; rank < kCluster; ++rank) sum += shared.rank_sum[rank];
  return sum;
}

}  // namespace strobe::kernel

extern "C" __global__ void __launch_bounds__(strobe::kernel::kThreads, 2)
    strobe_softmax(const __grid_constant__ strobe::kernel::SoftmaxParams params) {
  using namespace strobe::kernel;
  extern __shared__ SoftmaxShared softmax_memory[];
  SoftmaxShared& shared = *softmax_memory;
  const int row = static_cast<int>(blockIdx.x / kCluster);
  const int first = static_cast<int>(cluster_rank() * kSteps * kThreads + threadIdx.x) * kVector;
  const auto column = [=](int step) { return first + step * kThreads * kVector; };
  const char* input = params.input + row * params.input_stride;
  wait_for_kernel_before();
  ColumnVector vectors[kSteps];
#pragma unroll
  for (int i = 0; i < kSteps; ++i)
    if (column(i) < params.vocab_size)
      load(vectors[i], input + static_cast<int64_t>(column(i)) * size_of(kInput));
    else
      set_lowest(vectors[i]);
  const float factor = factor_of(at_row(params.temperature, row));
  float x[kSteps][kVector], largest = -infinity();
#pragma unroll
  for (int i = 0; i < kSteps; ++i) {
    unpack(vectors[i], x[i]);
#pragma unroll
    for (int j = 0; j < kVector; ++j) largest = bad_logit(x[i][j]) ? infinity() : fmaxf(largest, x[i][j]);
  }
  largest = row_largest(largest, shared);
  let_next_kernel_begin();
  WeightSum sum;
#pragma unroll
  for (int i = 0; i < kSteps; ++i)
#pragma unroll
    for (int j = 0; j < kVector; ++j) {
      x[i][j] = exponential(x[i][j], largest, factor);
      sum.add(WeightParts(x[i][j]));
    }
  const uint64_t all = row_sum(sum.total(), shared);
  const bool good = largest < infinity() && all != 0;
  const float scale = good ? kUnitWeight / static_cast<float>(all) : float_at(0x7fc00000);
  char* out = params.out + row * params.out_stride;
#pragma unroll
  for (int i = 0; i < kSteps; ++i) {
    if (column(i) >= params.vocab_size) break;
#pragma unroll
    for (int j = 0; j < kVector; ++j) x[i][j] = good ? x[i][j] * scale : scale;
    store(out + static_cast<int64_t>(column(i)) * size_of(Dtype::kF32), pack<Dtype::kF32>(x[i]));
  }
}
