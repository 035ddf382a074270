// Tokens drawn from rows of probabilities or logits, those rows renormalised, or logits masked: behind any of
// the filters top-k, top-p and min-p. include/strobe/sampling.h has the rules.
//
// A cluster works on one row. Behind top-k, or top-p alone, the row comes from global memory once:
//   guess   where the threshold lies, from a sample of the row           (guess.cuh)
//   survey  a pass that sums up what lies above that window and lists the tokens in it  (survey.cuh)
//   solve   the exact threshold, from the list, by the first block       (list.cuh, solve.cuh)
// Top-p of logits takes a pass for the largest before. When the guess was wrong, and behind other filters,
// passes follow that find the exact thresholds by histograms (select.cuh) and weigh what is kept.
// A draw then looks for the segment of the row that a random number falls into, and reads that once more.
// All sums are of integers, so that the order of threads and atomic operations changes nothing.
//
// Constants: Dtype kInput; TokenSource kSource; TokenTask kTask; int kVector, kCluster.
constexpr bool kRowLengths = false;
// Rows of one block are many: two of them share an SM. The blocks of a cluster have one each.
#if __CUDA_ARCH__ == 860 || __CUDA_ARCH__ == 890 || __CUDA_ARCH__ >= 1200
constexpr int kSmBlocks = 1;  // the lists leave room for no more
#else
constexpr int kSmBlocks = kCluster == 1 ? 2 : 1;
#endif
// Whether loops over a block's warps and bins are unrolled: which way leaves these kernels 64 registers
// enough, their compiler's logs say (cuda_compile_test).
#if __CUDA_ARCH__ == 900
constexpr bool kUnrollsLists = kSource == strobe::kernel::TokenSource::kProbs &&
                               kTask == strobe::kernel::TokenTask::kSample && kVector == 8 && kCluster == 1;
#else
constexpr bool kUnrollsLists = false;
#endif
constexpr int kBatchValues = kCluster == 1 && kInput != strobe::kernel::Dtype::kF32 ? 8 : 16;

#include "ptx/dependency.h"
#include "sampling/draw.cuh"
#include "sampling/peak.cuh"
#include "sampling/sampling_kind.h"
#include "sampling/select.cuh"
#include "sampling/solve.cuh"

namespace strobe::kernel {

constexpr Dtype kOutput = kLogits && kTask == TokenTask::kRenorm ? Dtype::kF32 : kInput;

// What the first block knows, told to all.
STROBE_DEVICE void tell_outcome(Shared& shared, Outcome outcome, uint64_t kept) {
  if (threadIdx.x < kCluster) {
    tell(shared.outcome, threadIdx.x, outcome);
    tell(shared.kept, threadIdx.x, kept);
    if (threadIdx.x != 0) {
      tell(shared.row.threshold, threadIdx.x, shared.row.threshold);
      tell(shared.row.largest, threadIdx.x, shared.row.largest);
      tell(shared.row.least, threadIdx.x, shared.row.least);
    }
  }
}

// By one pass and a list, where that is possible; by weight, of a row that has only top_p. `row` gets its
// threshold, shared.segment what each segment of a row to draw from weighs, shared.kept the weight of a row
// to renormalise.
STROBE_DEVICE Outcome solve_by_list(const SamplingParams& params, const Columns& columns, Shared& shared,
                                    uint64_t* entries) {
  const Row& row = shared.row;
  const bool by_weight = row.top_k == 0, weighs = by_weight || (row.joint && row.top_p < 1);
  float mass = 1;
  if (kLogits && weighs) {
    const Peak peak = peak_of(columns, shared, row.factor, by_weight);
    set_largest(shared, peak.largest);
    mass = peak.mass;
  }
  const bool whole = columns.size() <= params.cut.list_capacity;
  set_window(shared, whole ? Window() : guess(columns, shared, by_weight, mass));
  if (weighs)
    survey<true>(params, columns, shared, entries);
  else
    survey<false>(params, columns, shared, entries);
  const uint32_t listed = gather(shared, entries, static_cast<uint32_t>(params.cut.list_capacity));
  if (cluster_rank() == 0) {
    Outcome outcome = Outcome::kUnsolved;
    uint64_t kept = 0;
    if (any_bad_warp(shared)) {
      outcome = Outcome::kBad;
    } else if (listed <= static_cast<uint32_t>(params.cut.list_capacity)) {
      const List list(entries, listed, shared);
      outcome = solve(params, list, shared, by_weight);
      if (outcome == Outcome::kSolved && kTask == TokenTask::kSample)
        add_to_segments(params, list, shared, by_weight);
      if (outcome == Outcome::kSolved && kTask == TokenTask::kRenorm)
        kept = (by_weight ? sum_of_block(own_part_of_segments(params, shared), shared) : 0) +
               list.extent({row, false, false}).amount;
    }
    tell_outcome(shared, outcome, kept);
  }
  wait_for_all();
  return shared.outcome;
}

// By passes over the row: `row` gets its largest value and its threshold.
STROBE_DEVICE void search(const Columns& columns, Shared& shared) {
  const Row& row = shared.row;
  if (kLogits || row.min_p > 0) set_largest(shared, peak_of(columns, shared, row.factor, false).largest);
    // Top-k, then top-p.
#pragma unroll 1
  for (int step = row.top_k > 0 ? 0 : 1; step < (row.top_p < 1 ? 2 : 1); ++step)
    raise_threshold(shared, threshold_of(columns, shared, step == 1));
}

// What is kept, in shared.segment of the first block; in shared.kept of all, of a row to renormalise.
STROBE_DEVICE void weigh(const SamplingParams& params, const Columns& columns, Shared& shared) {
  const Row& row = shared.row;
  bool any_bad = false;
  columns.for_each_segment([&](int segment) {
    WeightSum sum;
    columns.in_segment(segment, [&](int, const float(&x)[kBatch][kVector]) {
#pragma unroll
      for (int i = 0; i < kBatch; ++i)
#pragma unroll
        for (int j = 0; j < kVector; ++j) {
          any_bad |= bad(x[i][j]);
          const float value = row.value(x[i][j]);
          if (x[i][j] >= row.threshold && (row.least == 0 || value >= row.least)) sum.add(WeightParts(value));
        }
    });
    const uint64_t kept = sum_of_lanes(sum.total());
    if (lane_of_thread() == 0) tell_first(shared.segment[segment], kept);
  });
  any_bad = __any_sync(0xffffffff, any_bad);
  if (lane_of_thread() == 0)
    tell_first(shared.bad_of_warp[warp_of_cluster()], static_cast<uint32_t>(any_bad));
  wait_for_all();
  if constexpr (kTask == TokenTask::kRenorm) {
    if (cluster_rank() == 0)
      tell_outcome(shared, any_bad_warp(shared) ? Outcome::kBad : Outcome::kSolved,
                   sum_of_block(own_part_of_segments(params, shared), shared));
    wait_for_all();
  }
}

STROBE_DEVICE void put_sample(const SamplingParams& params, int row, int token, bool valid) {
  if (params.wide)
    static_cast<int64_t*>(params.samples)[row] = token;
  else
    static_cast<int32_t*>(params.samples)[row] = token;
  if (params.valid != nullptr) params.valid[row] = valid;
}

// Draws from what the segments weigh: the first block.
STROBE_DEVICE void draw(const SamplingParams& params, const Columns& columns, Shared& shared, int number) {
  const auto weight_of = [&](int column) {
    const float x = columns.value(column);
    return shared.row.keeps(x) ? shared.row.weight(x) : 0;
  };
  const auto put = [&](int column) { put_sample(params, number, column, true); };
  if (any_bad_warp(shared) || !draw_column(params.cut, columns, shared, weight_of, put))
    if (threadIdx.x == 0) put_sample(params, number, 0, false);
}

// Writes f(x) for every value x of the row.
template <class F>
STROBE_DEVICE void write_row(const SamplingParams& params, const Columns& columns, int number, F f) {
  char* out = params.out + number * params.out_stride;
  columns.for_each([&](int first, const float(&x)[kBatch][kVector]) {
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const int column = first + i * kVectorStep;
      if (column >= params.cut.vocab_size) break;
      float y[kVector];
#pragma unroll
      for (int j = 0; j < kVector; ++j) y[j] = f(x[i][j]);
      store(out + static_cast<int64_t>(column) * size_of(kOutput), pack<kOutput>(y));
    }
  });
}

STROBE_DEVICE void work(const SamplingParams& params, const Columns& columns, Shared& shared, int number,
                        uint64_t* list) {
  const Row& row = shared.row;
  Outcome outcome = Outcome::kUnsolved;
  if (params.cut.list_capacity > 0) {
    const bool only_top_p = row.top_p < 1 && row.min_p == 0;
    if (row.top_k > 0 || only_top_p) outcome = solve_by_list(params, columns, shared, list);
  }
  if (outcome == Outcome::kUnsolved) {
    search(columns, shared);
    if constexpr (kTask == TokenTask::kMask)
      outcome = is_bad(shared) ? Outcome::kBad : Outcome::kSolved;
    else
      weigh(params, columns, shared);
  }
  let_next_kernel_begin();
  if constexpr (kTask == TokenTask::kSample) {
    if (cluster_rank() != 0) return;
    if (outcome == Outcome::kBad) {
      if (threadIdx.x == 0) put_sample(params, number, 0, false);
    } else {
      draw(params, columns, shared, number);
    }
  } else if constexpr (kTask == TokenTask::kRenorm) {
    const bool good = shared.outcome != Outcome::kBad && shared.kept != 0;
    const float scale = good ? kUnitWeight / static_cast<float>(shared.kept) : float_at(0x7fc00000);
    write_row(params, columns, number, [&](float x) {
      return !good ? scale : row.keeps(x) ? row.value(x) * scale : 0.0f;
    });
  } else {
    const bool all = outcome == Outcome::kBad || row.factor != row.factor;
    write_row(params, columns, number, [&](float x) { return all || row.keeps(x) ? x : -infinity(); });
  }
}

}  // namespace strobe::kernel

extern "C" __global__ void __launch_bounds__(strobe::kernel::kThreads, kSmBlocks)
    strobe_sampling(const __grid_constant__ strobe::kernel::SamplingParams params) {
  using namespace strobe::kernel;
  extern __shared__ Shared block_memory[];
  Shared& shared = *block_memory;
  const int number = static_cast<int>(blockIdx.x / kCluster);
  auto* list = reinterpret_cast<uint64_t*>(reinterpret_cast<char*>(block_memory) + kSamplingSharedBytes);
  wait_for_kernel_before();
  const int source = params.indices != nullptr ? params.indices[number] : number;
  if (static_cast<uint32_t>(source) >= static_cast<uint32_t>(params.input_rows)) {
    if (cluster_rank() == 0 && threadIdx.x == 0) put_sample(params, number, 0, false);
    return;
  }
  const Columns columns(params.cut, params.cut.input + source * params.cut.input_stride);
  if (threadIdx.x == 0) {
    shared.bad = 0;
    shared.listed = 0;
    shared.row.begin(params, number);
    if constexpr (kTask == TokenTask::kSample)
      shared.random = random_bits(at_row(params.seed, number), at_row(params.offset, number),
                                  params.seed.per_row ? 0 : static_cast<uint32_t>(number), 0);
  }
  wait_for_all();  // all blocks of the cluster have begun
  work(params, columns, shared, number, list);
}
