// What the first block of a cluster makes of a survey: the row's threshold, what the segments weigh behind
// it, and whether the guess was good enough for that.
#pragma once

#include "sampling/list.cuh"

namespace strobe::kernel {

// Adds what `row` keeps of the list to the segments, which are 0 before unless `on_top`.
STROBE_DEVICE void add_to_segments(const SamplingParams& params, const List& list, Shared& shared,
                                   bool on_top) {
  __syncthreads();
  clear_bins(shared, params.cut.segments);
  __syncthreads();
  list.for_each([&](uint32_t key, int column) {
    const float x = value_of_key(key);
    if (shared.row.keeps(x))
      add_to_bin(shared, static_cast<uint32_t>(column) >> params.cut.segment_shift, shared.row.weight(x));
  });
  __syncthreads();
  for (int segment = static_cast<int>(threadIdx.x); segment < params.cut.segments; segment += kThreads)
    shared.segment[segment] = bin_of(shared, segment) + (on_top ? shared.segment[segment] : 0);
  __syncthreads();
}

// The row gets its threshold. By weight, the list has what lies around it and the segments what is above;
// else the list has the largest values.
STROBE_DEVICE Outcome solve(const SamplingParams& params, const List& list, Shared& shared, bool by_weight) {
  const Row& row = shared.row;
  const auto size = static_cast<uint64_t>(list.size()), top_k = static_cast<uint64_t>(row.top_k);
  List::Extent extent{};
  if (!by_weight) {
    if (size == 0 || (size < top_k && !shared.window.floor)) return Outcome::kUnsolved;
    extent = list.extent({row, true, true});
    set_largest(shared, value_of_key(extent.high));
  }
  // Top-k, then top-p.
#pragma unroll 1
  for (int step = by_weight || size < top_k ? 1 : 0; step < (row.top_p < 1 ? 2 : 1); ++step) {
    // Apart, top-p looks at what the other filters keep; jointly, at the row.
    const Amount amount{row, step == 0, row.joint || by_weight};
    uint64_t above = 0, wanted = top_k;
    if (step == 1) {
      if (by_weight) above = sum_of_block(own_part_of_segments(params, shared), shared);
      extent = list.extent(amount, amount.everything ? own_part_of_all(shared) : 0);
      wanted = least_weight(row.top_p, amount.everything ? extent.more : extent.amount);
      if (by_weight && (above >= wanted || above + extent.amount < wanted)) return Outcome::kUnsolved;
      if (extent.amount < wanted - above) break;  // below what top-k keeps
    }
    raise_threshold(shared, value_of_key(list.key_reaching(extent, above, wanted, amount)));
  }
  return Outcome::kSolved;
}

}  // namespace strobe::kernel
