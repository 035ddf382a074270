// Tokens drawn from rows of probabilities or logits, those rows renormalised, or logits masked: behind any of
// the filters top-k, top-p and min-p. include/strobe/sampling.h has the rules.
//
// A cluster works on one row, each block on consecutive columns of it, which stay in its shared memory where
// they fit: then the row comes from global memory once. Passes over it:
//   1    the largest value              (logits; min-p)
//   2-3  threshold of top-k             (select.cuh)
//   2-3  threshold of top-p             (select.cuh)
//   1    the weight of what is kept
//   then the draw: of a number below that weight, which block, which warp of it, and by one more look at the
//   warp's columns, which token; or one more pass that writes the row.
// All sums are of integers, so that the order of threads and atomic operations changes nothing.
//
// Constants: Dtype kInput; TokenSource kSource; TokenTask kTask; int kVector, kCluster.
#include "ptx/dependency.h"
#include "sampling/philox.h"
#include "sampling/sampling_kind.h"
#include "sampling/select.cuh"

namespace strobe::kernel {

constexpr bool kLogits = kSource == TokenSource::kLogits;
constexpr Dtype kOutput = kLogits && kTask == TokenTask::kRenorm ? Dtype::kF32 : kInput;

template <class T>
STROBE_DEVICE T at_row(const RowParameter<T>& parameter, int row) {
  return parameter.rows != nullptr ? parameter.rows[row] : parameter.value;
}
STROBE_DEVICE uint64_t at_row(const RowNumber& number, int row) {
  return static_cast<uint64_t>(number.numbers != nullptr ? number.numbers[number.per_row ? row : 0]
                                                         : number.value);
}

// The parameters of a row, and what is known of its values.
struct Row {
  int top_k;
  float top_p, min_p;
  float factor;  // of logits: log2(e) / temperature
  float largest = 0;
  float least = 0;  // of the values that min_p keeps

  STROBE_DEVICE Row(const SamplingParams& params, int row)
      : top_k(at_row(params.top_k, row)),
        top_p(at_row(params.top_p, row)),
        min_p(at_row(params.min_p, row)),
        factor(kLogits ? factor_of(at_row(params.temperature, row)) : 0.0f) {
    top_p = top_p < 1 ? fmaxf(top_p, 0.0f) : 1.0f;
    min_p = min_p > 0 ? fminf(min_p, 1.0f) : 0.0f;
  }

  // A probability, or one in proportion.
  STROBE_DEVICE float value(float x) const {
    if constexpr (kLogits)
      return exponential(x, largest, factor);
    else
      return x;
  }
  STROBE_DEVICE uint64_t weight(float x) const { return weight_of(value(x)); }
};

STROBE_DEVICE bool bad(float x) { return kLogits ? bad_logit(x) : bad_prob(x); }

// The largest value of the row, in all threads of the cluster.
STROBE_DEVICE float largest_of(const Columns& columns, Shared& shared) {
  float largest = -float_at(0x7f800000);
  bool any_bad = false;
  columns.for_each([&](int, int, const float(&x)[kVector]) {
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      any_bad |= bad(x[i]);
      largest = fmaxf(largest, x[i]);
    }
  });
  if (any_bad) add_shared(&shared.bad, 1);
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2)
    largest = fmaxf(largest, __shfl_xor_sync(0xffffffff, largest, distance));
  if (lane_of_thread() == 0) shared.warp_largest[warp_of_thread()] = largest;
  __syncthreads();
  if (threadIdx.x < kCluster) {
    for (int warp = 0; warp < kWarps; ++warp) largest = fmaxf(largest, shared.warp_largest[warp]);
    tell(shared.rank_largest[cluster_rank()], threadIdx.x, largest);
    tell(shared.rank_bad[cluster_rank()], threadIdx.x, shared.bad);
  }
  wait_for_all();
  for (uint32_t rank = 0; rank < kCluster; ++rank) largest = fmaxf(largest, shared.rank_largest[rank]);
  return largest;
}

// Whether any token of the row is bad, after a pass that has looked at them and a barrier of the cluster.
STROBE_DEVICE bool is_bad(const Shared& shared) {
  uint32_t count = 0;
  for (uint32_t rank = 0; rank < kCluster; ++rank) count += shared.rank_bad[rank];
  return count != 0;
}

struct Kept {
  uint64_t all = 0;     // weight of the row's kept tokens,
  uint64_t before = 0;  // of those in blocks before this one,
  uint64_t own = 0;     // and in this block
};

// Leaves the weight of each warp's kept tokens in shared.warp.
template <class Keeps>
STROBE_DEVICE Kept weigh(const Columns& columns, Shared& shared, const Row& row, Keeps keeps) {
  uint64_t sum = 0;
  bool any_bad = false;
  columns.for_each([&](int, int, const float(&x)[kVector]) {
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      if constexpr (!kLogits) any_bad |= bad(x[i]);  // logits have been looked at
      if (keeps(x[i])) sum += row.weight(x[i]);
    }
  });
  if (any_bad) add_shared(&shared.bad, 1);
  sum = sum_to_last_lane(sum);
  if (lane_of_thread() == 0) shared.warp[warp_of_thread()] = sum;
  __syncthreads();
  Kept kept;
  kept.own = sum_of_warps(shared);
  if (threadIdx.x < kCluster) {
    tell(shared.rank_weight[cluster_rank()], threadIdx.x, kept.own);
    tell(shared.rank_bad[cluster_rank()], threadIdx.x, shared.bad);
  }
  wait_for_all();
  for (uint32_t rank = 0; rank < kCluster; ++rank) {
    kept.all += shared.rank_weight[rank];
    if (rank < cluster_rank()) kept.before += shared.rank_weight[rank];
  }
  return kept;
}

STROBE_DEVICE void put_sample(const SamplingParams& params, int row, int token, bool valid) {
  if (params.wide)
    static_cast<int64_t*>(params.samples)[row] = token;
  else
    static_cast<int32_t*>(params.samples)[row] = token;
  if (params.valid != nullptr) params.valid[row] = valid;
}

// The token at `target` of the running sum of the kept weights of this warp's columns.
template <class Keeps>
STROBE_DEVICE void draw_in_warp(const SamplingParams& params, const Columns& columns, const Row& row,
                                int number, uint64_t target, Keeps keeps) {
  for (int step = 0; step < columns.steps(); ++step) {
    ColumnVector vector;
    float x[kVector];
    uint64_t sum = 0;
    if (columns.exists(step)) {
      columns.get(step, vector);
      unpack(vector, x);
#pragma unroll
      for (int i = 0; i < kVector; ++i) sum += keeps(x[i]) ? row.weight(x[i]) : 0;
    }
    uint64_t to_here = sum;
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2) {
      const uint64_t less = up(to_here, distance);
      if (lane_of_thread() >= distance) to_here += less;
    }
    const uint64_t all = of_lane(to_here, 31);
    if (target >= all) {
      target -= all;
      continue;
    }
    uint64_t before = to_here - sum;
    if (target < before || target >= to_here) return;
    unpack(vector, x);
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      const uint64_t weight = keeps(x[i]) ? row.weight(x[i]) : 0;
      if (target >= before && target - before < weight)
        put_sample(params, number, columns.column(step) + i, true);
      before += weight;
    }
    return;
  }
}

template <class Keeps>
STROBE_DEVICE void draw(const SamplingParams& params, const Columns& columns, Shared& shared, const Row& row,
                        int number, Keeps keeps) {
  const Kept kept = weigh(columns, shared, row, keeps);
  if (is_bad(shared) || kept.all == 0) {
    if (cluster_rank() == 0 && threadIdx.x == 0) put_sample(params, number, 0, false);
    return;
  }
  uint64_t target = scaled_to(shared.random, kept.all);
  if (target < kept.before || target - kept.before >= kept.own) return;
  target -= kept.before;
  for (int warp = 0; warp < warp_of_thread(); ++warp) {
    if (target < shared.warp[warp]) return;
    target -= shared.warp[warp];
  }
  if (target < shared.warp[warp_of_thread()]) draw_in_warp(params, columns, row, number, target, keeps);
}

// Writes f(x) for every value x of the row.
template <class F>
STROBE_DEVICE void write_row(const SamplingParams& params, const Columns& columns, int number, F f) {
  char* out = params.out + number * params.out_stride;
  columns.for_each([&](int, int column, const float(&x)[kVector]) {
    float y[kVector];
#pragma unroll
    for (int i = 0; i < kVector; ++i) y[i] = f(x[i]);
    store(out + static_cast<int64_t>(column) * size_of(kOutput), pack<kOutput>(y));
  });
}

template <class Keeps>
STROBE_DEVICE void work(const SamplingParams& params, const Columns& columns, Shared& shared, const Row& row,
                        int number, Keeps keeps) {
  if constexpr (kTask == TokenTask::kSample) {
    draw(params, columns, shared, row, number, keeps);
  } else if constexpr (kTask == TokenTask::kRenorm) {
    const Kept kept = weigh(columns, shared, row, keeps);
    const bool good = !is_bad(shared) && kept.all != 0;
    const float scale = good ? kUnitWeight / static_cast<float>(kept.all) : float_at(0x7fc00000);
    write_row(params, columns, number, [&](float x) {
      return !good ? scale : keeps(x) ? row.value(x) * scale : 0.0f;
    });
  } else {
    const bool all = is_bad(shared) || row.factor != row.factor;
    write_row(params, columns, number, [&](float x) { return all || keeps(x) ? x : -float_at(0x7f800000); });
  }
}

}  // namespace strobe::kernel

extern "C" __global__ void __launch_bounds__(strobe::kernel::kThreads, strobe::kernel::kSmBlocks)
    strobe_sampling(const __grid_constant__ strobe::kernel::SamplingParams params) {
  using namespace strobe::kernel;
  extern __shared__ Shared block_memory[];
  Shared& shared = *block_memory;
  wait_for_kernel_before();
  const int number = static_cast<int>(blockIdx.x / kCluster);
  const int source = params.indices != nullptr ? params.indices[number] : number;
  if (static_cast<uint32_t>(source) >= static_cast<uint32_t>(params.input_rows)) {
    if (cluster_rank() == 0 && threadIdx.x == 0) put_sample(params, number, 0, false);
    return;
  }
  const Columns columns(
      params, params.input + source * params.input_stride,
      reinterpret_cast<ColumnVector*>(reinterpret_cast<char*>(block_memory) + kSamplingSharedBytes));
  if (threadIdx.x == 0) {
    shared.bad = 0;
    if constexpr (kTask == TokenTask::kSample)
      shared.random = random_bits(at_row(params.seed, number), at_row(params.offset, number),
                                  params.seed.per_row ? 0 : static_cast<uint32_t>(number), 0);
  }
  columns.fetch();
  wait_for_all();  // all blocks of the cluster have begun
  Row row(params, number);
  if (kLogits || row.min_p > 0) {
    row.largest = largest_of(columns, shared);
    row.least = kLogits ? row.min_p : row.min_p * row.largest;
  }
  Selection selection;
  const auto reaches_least = [&](float x) { return row.least == 0 || row.value(x) >= row.least; };
  const auto keeps = [&](float x) { return x >= selection.threshold && reaches_least(x); };
  if (row.top_k > 0 && row.top_k < params.vocab_size)
    selection.keep_count(columns, shared, static_cast<uint64_t>(row.top_k),
                         [&](float x) { return params.joint || reaches_least(x); });
  if (row.top_p < 1)
    selection.keep_weight(
        columns, shared, row.top_p, [&](float x) { return params.joint || keeps(x); },
        [&](float x) { return row.weight(x); });
  let_next_kernel_begin();
  work(params, columns, shared, row, number, keeps);
}
