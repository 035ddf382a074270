// The copying side of the decode kernel: each warp fills its own ring, with no barrier between warps.
#pragma once

#include "attention/attention_params.h"
#include "attention/decode_layout.cuh"
#include "ptx/async_copy.h"
#include "ptx/dependency.h"

namespace strobe::kernel {

// The 16 bytes of an item that copying takes.
struct CopyRange {
  int32_t kv_head, kv_begin, kv_end, kv_base;
};

STROBE_DEVICE CopyRange copy_range(const AttentionItem* item) {
  const auto words = load_settled<16>(item);
  return {static_cast<int32_t>(words.word[0]), static_cast<int32_t>(words.word[1]),
          static_cast<int32_t>(words.word[2]), static_cast<int32_t>(words.word[3])};
}

STROBE_DEVICE AttentionRun run_of_block(const AttentionParams& p) {
  const auto words = load_settled<8>(p.runs + blockIdx.x);
  return {static_cast<int32_t>(words.word[0]), static_cast<int32_t>(words.word[1])};
}

// Walks a warp's tiles, item after item, one tile ahead of the copies: the page number of the tile it stands
// on was asked for one step earlier, and so was the item after the current one.
class TileCursor {
 public:
  STROBE_DEVICE explicit TileCursor(const AttentionParams& p) {
    range_ = copy_range(p.items + blockIdx.x);
    const AttentionRun run = run_of_block(p);
    next_item_ = run.begin;
    end_item_ = run.end;
    start_range();
    if (next_item_ < end_item_) upcoming_ = copy_range(p.items + next_item_);
    settle(p);
  }

  // Starts the copies of this tile into `slot`, then moves on. Always one group of copies, an empty one when
  // the work is used up. Rows past the range's end become zeros: in V, what lies there would survive a weight
  // of 0 if it were NaN.
  STROBE_DEVICE void copy(const AttentionParams& p, SharedAddress slot) {
    if (valid_) {
      const int64_t head = range_.kv_head + warp_head();
      copy_tile<KRow>(slot, p.k + head * p.k_stride_head, p.k_stride_page, p.k_stride_token, p);
      copy_tile<VRow>(slot + KRow::kTileBytes, p.v + head * p.v_stride_head, p.v_stride_page,
                      p.v_stride_token, p);
    }
    end_copy_group();
    if (!valid_) return;
    token_ += kParts * kTileRows;
    settle(p);
  }

 private:
  STROBE_DEVICE void start_range() { token_ = range_.kv_begin + warp_part() * kTileRows; }

  // Goes to the next item that has a tile for this warp, then asks for the tile's page numbers.
  STROBE_DEVICE void settle(const AttentionParams& p) {
    while (token_ >= range_.kv_end) {
      valid_ = next_item_ < end_item_;
      if (!valid_) return;
      range_ = upcoming_;
      start_range();
      if (++next_item_ < end_item_) upcoming_ = copy_range(p.items + next_item_);
    }
    if (p.page_size.value == 0) {
      page_ = 0;
      in_page_ = range_.kv_base + token_ + (kRowPages ? lane_of_warp() % kTileRows : 0);
      return;
    }
    const int row = kRowPages ? lane_of_warp() % kTileRows : 0;
    const uint32_t token = min(token_ + row, range_.kv_end - 1);
    const uint32_t number = quotient(token, p.page_size);
    in_page_ = static_cast<int32_t>(remainder(token, number, p.page_size));
    page_ = static_cast<int32_t>(load_settled<4>(p.kv_indices + range_.kv_base + number).word[0]);
  }

  template <class Row>
  STROBE_DEVICE void copy_tile(SharedAddress to, const char* head, int64_t page_stride, int64_t token_stride,
                               const AttentionParams& p) const {
    const int lane = lane_of_warp();
    const int first_row = lane / Row::kCopyLanes, first_chunk = lane % Row::kCopyLanes;
    const int rows_left = range_.kv_end - token_;
    const int64_t step = Row::kCopyRows * token_stride;
    const char* next = head + page_ * page_stride + (in_page_ + first_row) * token_stride;
#pragma unroll
    for (int r = 0; r < kTileRows; r += Row::kCopyRows) {
      const int row = r + first_row;
      const char* from = next;
      next += step;
      if constexpr (kRowPages)
        from = head + __shfl_sync(0xffffffff, page_, row) * page_stride +
               __shfl_sync(0xffffffff, in_page_, row) * token_stride;
#pragma unroll
      for (int i = 0; i < Row::kChunks; i += Row::kCopyLanes) {
        const int chunk = i + first_chunk;
        copy_async_or_zero<kChunkBytes>(to + Row::offset(row, chunk), from + chunk * kChunkBytes,
                                        row < rows_left);
      }
    }
  }

  CopyRange range_, upcoming_;
  int32_t next_item_, end_item_;
  int32_t token_;           // first token of the tile
  int32_t page_, in_page_;  // of the tile's first row, or with kRowPages of row lane % kTileRows
  bool valid_ = true;
};

}  // namespace strobe::kernel
