// Rows whose KV is cut among blocks. The block that is the last to leave its piece merges them, in the order
// of the pieces, so that no bit depends on who that is.
#pragma once

#include "attention/decode_result.cuh"
#include "ptx/atomic.h"
#include "ptx/dependency.h"

namespace strobe::kernel {

struct CutRow {
  AttentionMerge merge;
  bool complete;
};

STROBE_DEVICE AttentionMerge load_merge(const AttentionMerge* merge) {
  const auto first = load_settled<16>(merge), second = load_settled<16>(&merge->slot_stride);
  const auto number = [](uint32_t word) { return static_cast<int32_t>(word); };
  return {.kv_head = number(first.word[0]),
          .q_row = number(first.word[1]),
          .q_tokens = number(first.word[2]),
          .first_slot = number(first.word[3]),
          .slot_stride = number(second.word[0]),
          .parts = number(second.word[1]),
          .unused = {}};
}

// Pieces of one row of one head, on one warp: lane l has elements 4l … 4l + 3 of every 128. kAhead of them
// are asked for at once; more are more instructions where there are few (34: B1 5 % slower).
class MergedRow {
 public:
  static constexpr int kLaneElements = 4, kPassElements = kWarpThreads * kLaneElements;

  // `out` and `lse`: of the first piece.
  STROBE_DEVICE MergedRow(const float* out, int64_t out_stride, const float* lse, int64_t lse_stride,
                          int parts, bool has_elements) {
#pragma unroll 1
    for (int first = 0; first < parts; first += kAhead) {
      const int left = min(parts - first, kAhead), lane = lane_of_warp();
      Access<16> x[kAhead];
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        x[i] = {};
        if (has_elements && i < left) x[i] = load<16>(out + (first + i) * out_stride);
      }
      const float own_lse =
          lane < left ? float_of(load<4>(lse + (first + lane) * lse_stride).word[0]) : minus_infinity();
      follow_maximum(own_lse);
      add(x, own_lse, left);
    }
  }

  STROBE_DEVICE const Row& row() const { return row_; }

 private:
  static constexpr int kAhead = 17;

  STROBE_DEVICE void follow_maximum(float lse) {
#pragma unroll
    for (int distance = 1; distance < kWarpThreads; distance *= 2)
      lse = fmaxf(lse, __shfl_xor_sync(0xffffffff, lse, distance));
    const float reference = fmaxf(row_.reference, lse), shrink = exp2_approx(row_.reference - reference);
    row_.reference = reference;
    row_.sum *= shrink;
#pragma unroll
    for (float& x : row_.o.x) x *= shrink;
  }

  // Pieces whose log-sum-exps the lanes have. The elements of an empty one may be anything: even 0 times them
  // could be NaN.
  STROBE_DEVICE void add(const Access<16> (&x)[kAhead], float own_lse, int parts) {
    constexpr float kEmpty = -1;
    const float own_weight = own_lse == minus_infinity() ? kEmpty : exp2_approx(own_lse - row_.reference);
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      if (i >= parts) break;
      const float weight = float_of(__shfl_sync(0xffffffff, bits_of(own_weight), i));
      if (weight == kEmpty) continue;
      row_.sum += weight;
#pragma unroll
      for (int j = 0; j < kLaneElements; ++j) row_.o.x[j] += weight * float_of(x[i].word[j]);
    }
  }

  Row row_ = {{}, kNoReference, 0};
};

// All heads of the block and all rows of each, shared out among the warps.
STROBE_DEVICE void merge_rows(const AttentionParams& p, const AttentionMerge& merge) {
  const int group = static_cast<int>(p.group.value), rows = merge.q_tokens * group;
  const int64_t stride = static_cast<int64_t>(merge.slot_stride) * p.partial_rows;
#pragma unroll 1
  for (int i = warp_of_block(); i < kHeads * rows; i += kWarps) {
    const int head = i / rows, row = i - head * rows;
    const int token = static_cast<int>(quotient(row, p.group));
    const int64_t place = static_cast<int64_t>(merge.first_slot + head) * p.partial_rows + row;
#pragma unroll 1
    for (int pass = 0; pass < kDimVo; pass += MergedRow::kPassElements) {
      const int element = pass + lane_of_warp() * MergedRow::kLaneElements;
      const bool has_elements = element < kDimVo;
      const MergedRow merged(p.partial_out + place * kDimVo + (has_elements ? element : 0), stride * kDimVo,
                             p.partial_lse + place, stride, merge.parts, has_elements);
      if (has_elements)
        store_result(p, merge.q_row, token, (merge.kv_head + head) * group + row - token * group, element,
                     merged.row());
    }
  }
}

// Counts the block in at a row that it has left a piece of; whoever comes last merges the row. The ring stays
// full meanwhile.
STROBE_DEVICE void merge_when_last(const AttentionParams& p, CutRow& row, int32_t number) {
  AttentionMerge merge{};
  if (threadIdx.x == 0) merge = load_merge(p.merges + number);
  __syncthreads();
  if (threadIdx.x == 0) {
    const bool complete =
        add_release_acquire(p.arrivals + number, 1) + 1 == static_cast<uint32_t>(merge.parts);
    if (complete) set_global(p.arrivals + number, 0);
    row = {merge, complete};
  }
  __syncthreads();
  if (row.complete) merge_rows(p, row.merge);
}

}  // namespace strobe::kernel
