// The k largest values of rows and their indices, in order; indices of parts of rows, moved to where a paged
// or ragged cache has them. include/strobe/top_k.h has the rules.
//
// A cluster works on a row. Every value with its index has a place in the order: one number of 54 bits, no
// two alike. A sample says above which value there should be a few more than k (guess.cuh); one pass lists
// those (survey.cuh), and the first block sorts the list. When there were too few or too many, five rounds of
// histograms find the k-th place exactly (select.cuh), and another pass lists k.
//
// Constants: Dtype kInput; int kVector, kCluster.
#include "sampling/sampling_kind.h"

constexpr strobe::kernel::TokenSource kSource = strobe::kernel::TokenSource::kLogits;  // any values
constexpr bool kRowLengths = true, kUnrollsLists = false;
constexpr int kBatchValues = kCluster == 1 && kInput != strobe::kernel::Dtype::kF32 ? 8 : 16;

#include "ptx/dependency.h"
#include "sampling/select.cuh"
#include "sampling/top_k_params.h"

namespace strobe::kernel {

constexpr int kIndexBits = 22, kPlaceBits = 32 + kIndexBits;
constexpr uint32_t kMostIndex = (1u << kIndexBits) - 1;

// NaN comes before +Inf.
STROBE_DEVICE uint32_t order_of(float x) { return x == x ? key_of_logit(x) : 0xffffffffu; }

struct Places {
  bool last_first;

  STROBE_DEVICE uint64_t of(float x, int index) const {
    const auto bits = static_cast<uint32_t>(index);
    return static_cast<uint64_t>(order_of(x)) << kIndexBits | (last_first ? bits : kMostIndex - bits);
  }
  STROBE_DEVICE int index(uint64_t place) const {
    const uint32_t bits = static_cast<uint32_t>(place) & kMostIndex;
    return static_cast<int>(last_first ? bits : kMostIndex - bits);
  }
};

// Lists the places beyond `low` in the first block; returns how many there are.
STROBE_DEVICE uint32_t list_beyond(const Columns& columns, Shared& shared, const Places& places, uint64_t low,
                                   uint64_t* list, uint32_t capacity) {
  columns.for_each_segment([&](int segment) {
    if (segment * columns.segment_columns() >= columns.size()) return;
    columns.in_segment(segment, [&](int first, const float(&x)[kBatch][kVector]) {
      uint32_t chosen = 0;
#pragma unroll
      for (int i = 0; i < kBatch; ++i)
#pragma unroll
        for (int j = 0; j < kVector; ++j) {
          const int index = first + i * kVectorStep + j;
          if (index < columns.size() && places.of(x[i][j], index) > low) chosen |= 1u << (i * kVector + j);
        }
      append(
          chosen, [&](int i, int j) { return places.of(x[i][j], first + i * kVectorStep + j); }, shared, list,
          capacity);
    });
  });
  return gather(shared, list, capacity);
}

// The k-th place of the row, which has that many.
STROBE_DEVICE uint64_t place_of(const Columns& columns, Shared& shared, const Places& places, int k) {
  uint64_t prefix = 0, above = 0;
#pragma unroll 1
  for (int shift = kPlaceBits; shift > 0;) {
    const int bits = shift < kRoundBits ? shift : kRoundBits, low = shift - bits;
    clear_bins(shared, kBins);
    __syncthreads();
    columns.for_each_segment([&](int segment) {
      columns.in_segment(segment, [&](int first, const float(&x)[kBatch][kVector]) {
#pragma unroll
        for (int i = 0; i < kBatch; ++i)
#pragma unroll
          for (int j = 0; j < kVector; ++j) {
            const int index = first + i * kVectorStep + j;
            const uint64_t place = places.of(x[i][j], index);
            if (index < columns.size() && place >> shift == prefix)
              count_shared(&shared.low[place >> low & ((1u << bits) - 1)]);
          }
      });
    });
    find_bin_of_cluster(shared, above, [=](uint64_t) { return static_cast<uint64_t>(k); });
    above = shared.above;
    prefix = prefix << bits | shared.found;
    shift = low;
  }
  return prefix;
}

// Sorts the first `size` of the list, the largest first; those behind, up to a power of two, become 0.
STROBE_DEVICE void sort_list(uint64_t* list, int size) {
  int whole = 1;
  while (whole < size) whole *= 2;
  const auto thread = static_cast<int>(threadIdx.x);
  for (int i = size + thread; i < whole; i += kThreads) list[i] = 0;
  __syncthreads();
#pragma unroll 1
  for (int run = 2; run <= whole; run *= 2)
#pragma unroll 1
    for (int distance = run / 2; distance > 0; distance /= 2) {
      for (int pair = thread; pair < whole / 2; pair += kThreads) {
        const int i = 2 * pair - (pair & (distance - 1));
        const uint64_t a = list[i], b = list[i + distance];
        const bool falls = (i & run) == 0;
        if (falls ? a < b : a > b) {
          list[i] = b;
          list[i + distance] = a;
        }
      }
      __syncthreads();
    }
}

// Where a cache has index `index` of the row; -1 where it has none.
STROBE_DEVICE int moved(const TopKParams& params, int row, int start, int index) {
  if (params.page_table == nullptr) return index + (params.offsets != nullptr ? params.offsets[row] : 0);
  const int batch = params.row_to_batch != nullptr ? params.row_to_batch[row] : row;
  const int first = params.page_table_row_starts != nullptr ? params.page_table_row_starts[row] : start;
  const int64_t page = static_cast<int64_t>(first) + (index >> params.page_shift);
  if (static_cast<uint32_t>(batch) >= static_cast<uint32_t>(params.num_batches) || page < 0 ||
      page >= params.page_table_length)
    return -1;
  const int place = params.page_table[batch * params.page_table_stride + page];
  return (place << params.page_shift) + (index & ((1 << params.page_shift) - 1));
}

STROBE_DEVICE void put(const TopKParams& params, const Columns& columns, int row, int start, int i,
                       int index) {
  const int64_t at = static_cast<int64_t>(row) * params.k + i;
  if (params.values != nullptr) {
    Vector<kInput, 1> value;
    load(value, columns.address(index));
    store(static_cast<char*>(params.values) + at * size_of(kInput), value);
  }
  if (params.raw_indices != nullptr) params.raw_indices[at] = index;
  const int place = index < 0 ? -1 : moved(params, row, start, index);
  if (params.wide)
    static_cast<int64_t*>(params.indices)[at] = place;
  else
    static_cast<int32_t*>(params.indices)[at] = place;
}

// Leaves the k first places of the row in the first block's list, in their order.
STROBE_DEVICE void select_places(const TopKParams& params, const Columns& columns, Shared& shared,
                                 const Places& places, uint64_t* list) {
  const auto capacity = static_cast<uint32_t>(params.cut.list_capacity);
  uint64_t low = 0;
  bool all = columns.size() <= params.cut.list_capacity;
  if (!all) {
    const Window window = guess(columns, shared, false, 1);
    if (!window.floor) low = (static_cast<uint64_t>(order_of(window.low)) + 1) << kIndexBits;
  }
  uint32_t listed = list_beyond(columns, shared, places, low, list, capacity);
  if (listed < static_cast<uint32_t>(params.k) || listed > capacity) {
    const uint64_t last = place_of(columns, shared, places, params.k);
    if (threadIdx.x == 0) shared.listed = 0;
    wait_for_all();
    listed = list_beyond(columns, shared, places, last - 1, list, capacity);
  }
  if (cluster_rank() == 0) sort_list(list, static_cast<int>(listed));
}

}  // namespace strobe::kernel

extern "C" __global__ void __launch_bounds__(strobe::kernel::kThreads, kCluster == 1 ? 2 : 1)
    strobe_top_k(const __grid_constant__ strobe::kernel::TopKParams params) {
  using namespace strobe::kernel;
  extern __shared__ Shared block_memory[];
  Shared& shared = *block_memory;
  const int row = static_cast<int>(blockIdx.x / kCluster), thread = static_cast<int>(threadIdx.x);
  auto* list = reinterpret_cast<uint64_t*>(reinterpret_cast<char*>(block_memory) + kSamplingSharedBytes);
  wait_for_kernel_before();
  int start = params.row_starts != nullptr ? params.row_starts[row] : 0;
  if (start < 0 || start > params.cut.vocab_size) start = params.cut.vocab_size;
  int size = params.cut.vocab_size - start;
  if (params.lengths != nullptr) size = max(min(size, params.lengths[row]), 0);
  const Columns columns(
      params.cut,
      params.cut.input + row * params.cut.input_stride + static_cast<int64_t>(start) * size_of(kInput), size);
  const bool is_part = params.lengths != nullptr;
  if (is_part && size <= params.k) {
    if (cluster_rank() == 0)
      for (int i = thread; i < params.k; i += kThreads)
        put(params, columns, row, start, i, i < size ? i : -1);
    return;
  }
  if (thread == 0) {
    shared.listed = 0;
    shared.row.top_k = params.k;
  }
  wait_for_all();  // all blocks of the cluster have begun
  const Places places{params.last_first != 0};
  select_places(params, columns, shared, places, list);
  let_next_kernel_begin();
  if (cluster_rank() != 0) return;
  if (is_part) {  // in the order of the indices
    for (int i = thread; i < params.k; i += kThreads)
      list[i] = kMostIndex - static_cast<uint32_t>(places.index(list[i]));
    __syncthreads();
    sort_list(list, params.k);
  }
  for (int i = thread; i < params.k; i += kThreads) {
    const int index =
        is_part ? static_cast<int>(kMostIndex - static_cast<uint32_t>(list[i])) : places.index(list[i]);
    put(params, columns, row, start, i, index);
  }
}
