// Root-mean-square and layer norm of rows, alone or after a residual addition, rounded or quantised.
//
// kRowThreads threads share a row; thread i of them holds the vectors i, i + kRowThreads, … of kVector
// elements, kItems of them in a chunk of the row. A row of one chunk is read once and stays in registers
// until it is written. A longer row (kLong) is read once for each sum and once more to be written; the later
// reads come from L1, or from L2.
//
// A block does one row (or as many short ones as it has room for) and ends: of 16384 x 8192 bf16 on an H200,
// where a copy of as many bytes takes 128 us, the version before, with blocks that stayed and fetched rows
// ahead by cp.async, took 145. Two loads of 16 bytes a thread are the best where the row stays in registers
// (130; with one, the barrier of the sum finds too little under way). From rows of 16 KiB on, reading twice
// is better, since more threads are there that hold nothing over the barrier: 127, and with an addition 257
// against 264, where a copy takes 254. At 8 KiB it is worse (4096 x 4096: 18.2 against 17.2). Rows fetched by
// bulk copies: 131 and more; other hints for loads and stores: the same or worse.
//
// Constants: NormForm kForm; Dtype kInput, kOutput; int kVector, kItems, kRowThreads; bool kLong.
#include "norm/norm_params.h"
#include "ptx/dependency.h"
#include "tile/row_sum.h"
#include "tile/sm.h"
#include "tile/vector.h"

namespace strobe::kernel {

constexpr bool kAdd = kForm == NormForm::kAddRms, kLayer = kForm == NormForm::kLayer;
constexpr int kThreads = kRowThreads < 128 ? 256 : kRowThreads;
constexpr int kBlockRows = kThreads / kRowThreads;
constexpr int kItemColumns = kRowThreads * kVector;
constexpr int kChunkColumns = kItems * kItemColumns;
constexpr int kOperands = kAdd ? 2 : 1;
constexpr Dtype kWeight = kLayer ? Dtype::kF32 : kInput;
// Whether the weights are loaded beside the row, not after its sum: where registers allow it.
constexpr bool kWeightsAhead = !kLong && kItems * (kLayer ? 2 : 1) <= 2;
// Threads of an SM that there are registers for: 64 for each of 1024, 48 of 1280, 40 of 1536, 32 of 2048.
STROBE_DEVICE constexpr int sm_threads() {
  constexpr bool kNarrows = size_of(kOutput) == 1;
  if (kLong) return kForm == NormForm::kRms || (kAdd && kOutput == Dtype::kBf16) ? 1536 : 1280;
  if (kItems > 2 || (kNarrows && (kLayer || kItems == 2))) return 1024;
  if (kLayer && kItems == 2) return 1280;
#if __CUDA_ARCH__ < 900
  if (kAdd && kItems == 2 && kRowThreads == 768) return 1024;  // 40 registers are just too few there
#endif
  return kAdd && kNarrows ? kMostSmThreads : 1536;
}
constexpr int kSmThreads = sm_threads();
static_assert(kBlockRows == 1 || kRowThreads <= kWarpThreads,
              "a sum over several warps takes the whole block");
static_assert(!kLong || kBlockRows == 1);

using InputVector = Vector<kInput, kVector>;
using Values = float[kVector];

// What a thread holds of a chunk of a row, as it lies in memory.
struct Chunk {
  InputVector vector[kOperands][kItems];
};

// Of a thread's vectors in chunk `index`.
STROBE_DEVICE int first_column(int index) {
  return index * kChunkColumns + static_cast<int>(threadIdx.x % kRowThreads) * kVector;
}
STROBE_DEVICE bool within_row(const NormParams& params, int index, int item) {
  return first_column(index) + item * kItemColumns < params.hidden;
}

// Where a thread's vectors of a row begin.
STROBE_DEVICE char* vectors_of(const Rows& rows, const NormParams& params, uint32_t row, int index,
                               Dtype dtype) {
  return row_of(rows, params.inner_rows, row) + static_cast<int64_t>(first_column(index)) * size_of(dtype);
}

// Calls f(operand, item, address) for every vector of a thread that exists.
template <class F>
STROBE_DEVICE void for_each_vector(const NormParams& params, uint32_t row, int index, F f) {
  const char* address[kOperands];
  address[0] = vectors_of(params.input, params, row, index, kInput);
  if constexpr (kAdd) address[1] = vectors_of(params.residual, params, row, index, kInput);
#pragma unroll
  for (int item = 0; item < kItems; ++item)
    if (row < params.rows && within_row(params, index, item))
#pragma unroll
      for (int operand = 0; operand < kOperands; ++operand)
        f(operand, item, address[operand] + item * kItemColumns * size_of(kInput));
}

// Columns beyond the row, and all of a row beyond the last, are 0.
STROBE_DEVICE void load_chunk(const NormParams& params, uint32_t row, int index, Chunk& chunk) {
  chunk = {};
  for_each_vector(params, row, index, [&](int operand, int item, const char* address) {
    load(chunk.vector[operand][item], address);
  });
}

// Of a row that is read more than once.
template <Turn kTurn>
STROBE_DEVICE void load_chunk_in_turn(const NormParams& params, uint32_t row, int index, Chunk& chunk) {
  chunk = {};
  for_each_vector(params, row, index, [&](int operand, int item, const char* address) {
    load_in_turn<kTurn>(chunk.vector[operand][item], address);
  });
}

// The factors and addends of a thread's columns.
struct Weights {
  Vector<kWeight, kVector> weight[kItems], bias[kLayer ? kItems : 1];
};

STROBE_DEVICE void load_weights(const NormParams& params, int index, int item, Weights& w) {
  if (!within_row(params, index, item)) return;
  constexpr int kStep = kItemColumns * size_of(kWeight);
  const int64_t offset = static_cast<int64_t>(first_column(index)) * size_of(kWeight);
  load(w.weight[item], params.weight + offset + item * kStep);
  if constexpr (kLayer) load(w.bias[item], params.bias + offset + item * kStep);
}

STROBE_DEVICE void values_of(const Chunk& chunk, int item, Values& x) {
  unpack(chunk.vector[0][item], x);
  if constexpr (kAdd) {
    Values addend;
    unpack(chunk.vector[1][item], addend);
#pragma unroll
    for (int i = 0; i < kVector; ++i) x[i] += addend[i];
  }
}

STROBE_DEVICE float sum(const Chunk& chunk) {
  float sum = 0;
#pragma unroll
  for (int item = 0; item < kItems; ++item) {
    Values x;
    values_of(chunk, item, x);
#pragma unroll
    for (int i = 0; i < kVector; ++i) sum += x[i];
  }
  return sum;
}

// Of the columns within the row: sum(x - mean) and sum((x - mean)^2).
struct Deviations {
  float sum = 0, squares = 0;
};

STROBE_DEVICE void add_deviations(const NormParams& params, int index, const Chunk& chunk, float mean,
                                  Deviations& deviations) {
#pragma unroll
  for (int item = 0; item < kItems; ++item) {
    if (kLayer && !within_row(params, index, item)) continue;
    Values x;
    values_of(chunk, item, x);
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      const float centred = x[i] - mean;
      if constexpr (kLayer) deviations.sum += centred;
      deviations.squares += centred * centred;
    }
  }
}

// 1 / sqrt(mean square + eps) of the row. The mean of layer norm, a rounded sum of large numbers perhaps, is
// corrected by that of the deviations from it.
STROBE_DEVICE float scale_of(const NormParams& params, const Deviations& deviations,
                             RowSum<kRowThreads>& row_sum, float& mean) {
  float mean_square = row_sum(deviations.squares) * params.inverse_hidden;
  if constexpr (kLayer) {
    const float correction = row_sum(deviations.sum) * params.inverse_hidden;
    mean += correction;
    mean_square -= correction * correction;
  }
  return rsqrtf(mean_square + params.eps);
}

// The residual: x itself.
STROBE_DEVICE void store_residual(const NormParams& params, uint32_t row, int index, const Chunk& chunk) {
  char* residual = vectors_of(params.residual, params, row, index, kInput);
#pragma unroll
  for (int item = 0; item < kItems; ++item) {
    if (row >= params.rows || !within_row(params, index, item)) continue;
    Values x;
    values_of(chunk, item, x);
    store(residual + item * kItemColumns * size_of(kInput), pack<kInput>(x));
  }
}

// y = (x - mean) * scale * weight + bias.
STROBE_DEVICE void store_chunk(const NormParams& params, uint32_t row, int index, const Chunk& chunk,
                               Weights& weights, float mean, float scale) {
  char* out = vectors_of(params.out, params, row, index, kOutput);
#pragma unroll
  for (int item = 0; item < kItems; ++item) {
    if (row >= params.rows || !within_row(params, index, item)) continue;
    if constexpr (!kWeightsAhead) load_weights(params, index, item, weights);
    Values x, weight, bias = {}, y;
    values_of(chunk, item, x);
    unpack(weights.weight[item], weight);
    if constexpr (kLayer) unpack(weights.bias[item], bias);
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      y[i] = (x[i] - mean) * scale * (weight[i] + params.weight_offset) + bias[i];
      if constexpr (size_of(kOutput) == 1) y[i] *= params.out_factor;
    }
    store(out + item * kItemColumns * size_of(kOutput), pack<kOutput>(y));
  }
}

// A row in registers.
STROBE_DEVICE void norm_chunk(const NormParams& params, uint32_t row, const Chunk& chunk, Weights& weights,
                              RowSum<kRowThreads>& row_sum) {
  if constexpr (kAdd) store_residual(params, row, 0, chunk);
  float mean = kLayer ? row_sum(sum(chunk)) * params.inverse_hidden : 0.0f;
  Deviations deviations;
  add_deviations(params, 0, chunk, mean, deviations);
  const float scale = scale_of(params, deviations, row_sum, mean);
  store_chunk(params, row, 0, chunk, weights, mean, scale);
}

// A row of several chunks.
STROBE_DEVICE void norm_long_row(const NormParams& params, uint32_t row, RowSum<kRowThreads>& row_sum) {
  const int chunks = (params.hidden + kChunkColumns - 1) / kChunkColumns;
  Chunk chunk;
  float mean = 0;
  Deviations deviations;
  if constexpr (kLayer) {
    for (int index = 0; index < chunks; ++index) {
      load_chunk_in_turn<Turn::kFirst>(params, row, index, chunk);
      mean += sum(chunk);
    }
    mean = row_sum(mean) * params.inverse_hidden;
  }
  for (int index = 0; index < chunks; ++index) {
    load_chunk_in_turn<Turn::kFirst>(params, row, index, chunk);
    add_deviations(params, index, chunk, mean, deviations);
  }
  const float scale = scale_of(params, deviations, row_sum, mean);
  let_next_kernel_begin();
  Weights weights;
  for (int index = 0; index < chunks; ++index) {
    load_chunk_in_turn<Turn::kLast>(params, row, index, chunk);
    if constexpr (kAdd) store_residual(params, row, index, chunk);
    store_chunk(params, row, index, chunk, weights, mean, scale);
  }
}

}  // namespace strobe::kernel

extern "C" __global__ void __launch_bounds__(strobe::kernel::kThreads,
                                             strobe::kernel::kSmThreads / strobe::kernel::kThreads)
    strobe_norm(const __grid_constant__ strobe::kernel::NormParams params) {
  using namespace strobe::kernel;
  RowSum<kRowThreads> row_sum;
  const uint32_t row = blockIdx.x * kBlockRows + threadIdx.x / kRowThreads;
  if (params.prefetches)
    for_each_vector(params, row, 0,
                    [&](int, int, const char* address) { prefetch<kInput, kVector>(address); });
  wait_for_kernel_before();
  if constexpr (kLong) {
    norm_long_row(params, row, row_sum);
  } else {
    Chunk chunk;
    Weights weights;
    load_chunk(params, row, 0, chunk);
    if constexpr (kWeightsAhead)
#pragma unroll
      for (int item = 0; item < kItems; ++item) load_weights(params, 0, item, weights);
    let_next_kernel_begin();
    norm_chunk(params, row, chunk, weights, row_sum);
  }
}
