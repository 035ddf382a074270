// Rows whose KV is cut among blocks. The block that is the last to leave its piece merges them, in the order
// of the pieces, so that no bit depends on who that is. Blocks count themselves in when their run has ended:
// a fence between items would stall the ring.
#pragma once

#include "attention/decode_result.cuh"
#include "ptx/atomic.h"
#include "ptx/dependency.h"

namespace strobe::kernel {

constexpr int kMostCutRows = kWarpThreads;  // that a block remembers, a lane of its first warp each

struct CutRows {
  AttentionMerge rows[kMostCutRows];
  uint32_t complete;  // a bit for each of them
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

// Pieces of one row of one head, on one warp: lane l has elements 4l … 4l + 3 of every 128. As many are asked
// for at once as the blocks of an H200 give of a row that all of them share: 33 or 34 of two heads.
class MergedRow {
 public:
  static constexpr int kLaneElements = 4, kPassElements = kWarpThreads * kLaneElements;

  // `out` and `lse`: of the first piece.
  STROBE_DEVICE MergedRow(const float* out, int64_t out_stride, const float* lse, int64_t lse_stride,
                          int parts, bool has_elements) {
#pragma unroll 1
    for (int first = 0; first < parts; first += kAhead) {
      const int left = parts - first;
      Batch batch;
      batch.load_parts(out + first * out_stride, out_stride, has_elements ? left : 0);
      float lses[kLses];
#pragma unroll
      for (int i = 0; i < kLses; ++i) {
        const int part = i * kWarpThreads + lane_of_warp();
        lses[i] = part < min(left, kAhead) ? float_of(load<4>(lse + (first + part) * lse_stride).word[0])
                                           : minus_infinity();
      }
      follow_maximum(lses);
      add(batch, lses);
    }
  }

  STROBE_DEVICE const Row& row() const { return row_; }

 private:
  static constexpr int kAhead = 34, kLses = (kAhead + kWarpThreads - 1) / kWarpThreads;

  struct Batch {
    Access<16> x[kAhead];

    STROBE_DEVICE void load_parts(const float* out, int64_t stride, int parts) {
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        x[i] = {};
        if (i < parts) x[i] = load<16>(out + i * stride);
      }
    }
  };

  STROBE_DEVICE void follow_maximum(const float (&lses)[kLses]) {
    float highest = lses[0];
#pragma unroll
    for (int i = 1; i < kLses; ++i) highest = fmaxf(highest, lses[i]);
#pragma unroll
    for (int distance = 1; distance < kWarpThreads; distance *= 2)
      highest = fmaxf(highest, __shfl_xor_sync(0xffffffff, highest, distance));
    const float reference = fmaxf(row_.reference, highest), shrink = exp2_approx(row_.reference - reference);
    row_.reference = reference;
    row_.sum *= shrink;
#pragma unroll
    for (float& x : row_.o.x) x *= shrink;
  }

  // The elements of an empty piece may be anything: even 0 times them could be NaN.
  STROBE_DEVICE void add(const Batch& batch, const float (&lses)[kLses]) {
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const float lse = float_of(__shfl_sync(0xffffffff, bits_of(lses[i / kWarpThreads]), i % kWarpThreads));
      if (lse == minus_infinity()) continue;
      const float weight = exp2_approx(lse - row_.reference);
      row_.sum += weight;
#pragma unroll
      for (int j = 0; j < kLaneElements; ++j) row_.o.x[j] += weight * float_of(batch.x[i].word[j]);
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

// `own`: which merge lane i of the first warp has of the block's i-th cut row, of `count`.
STROBE_DEVICE void merge_cut_rows(const AttentionParams& p, CutRows& cut, int32_t own, int count) {
  const int lane = lane_of_warp();
  const bool has_row = warp_of_block() == 0 && lane < count;
  AttentionMerge merge{};
  if (has_row) merge = load_merge(p.merges + own);
  __syncthreads();
  if (warp_of_block() == 0) {
    bool complete = false;
    if (has_row) {
      complete = add_release_acquire(p.arrivals + own, 1) + 1 == static_cast<uint32_t>(merge.parts);
      if (complete) store_relaxed(p.arrivals + own, 0);
      cut.rows[lane] = merge;
    }
    const uint32_t all = __ballot_sync(0xffffffff, complete);
    if (lane == 0) cut.complete = all;
  }
  __syncthreads();
#pragma unroll 1
  for (uint32_t left = cut.complete; left != 0; left &= left - 1) merge_rows(p, cut.rows[__ffs(left) - 1]);
}

}  // namespace strobe::kernel
