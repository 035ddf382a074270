// Tiles of rows of 16-bit elements in shared memory.
//
// A row is kDims elements (a multiple of 64) in chunks of 16 bytes. Chunk c of row r lies where chunk c ^ (r
// % 8) would: eight rows' chunks of one number, which a matrix load takes, fall into different banks.
#pragma once

#include "attention/rows.h"
#include "ptx/async_copy.h"
#include "ptx/matrix.h"

namespace strobe::kernel {

inline constexpr int kChunkBytes = 16, kChunkDims = 8;

template <int kDims>
STROBE_DEVICE int32_t chunk_place(int32_t row, int32_t chunk) {
  return row * (kDims * 2) + ((chunk ^ (row & 7)) * kChunkBytes);
}

// Where a lane's rows of matrix loads begin. A load takes 16 rows by 16 elements as four matrices, in the
// order (rows, elements) (0, 0), (8, 0), (0, 8), (8, 8).
template <int kDims>
class MatrixPlaces {
 public:
  STROBE_DEVICE explicit MatrixPlaces(SharedAddress tile) {
    const int32_t lane = static_cast<int32_t>(threadIdx.x) % 32, matrix = lane / 8, r = lane % 8;
    const int32_t row = matrix % 2 * 8 + r, chunk = matrix / 2;
#pragma unroll
    for (int i = 0; i < 4; ++i) place_[i] = tile + row * (kDims * 2) + (((2 * i + chunk) ^ r) * kChunkBytes);
  }
  // Of the elements from 64 * panel + 16 * step of the rows from `row`, a multiple of 8.
  STROBE_DEVICE SharedAddress at(int row, int panel, int step) const {
    return place_[step] + row * (kDims * 2) + panel * (8 * kChunkBytes);
  }

 private:
  SharedAddress place_[4];
};

// One side of the cache, K or V. Its strides are read where they are needed: they need no registers.
template <bool kIsK>
STROBE_DEVICE int64_t token_offset(const AttentionParams& params, const AttentionItem& item, int32_t token) {
  return kv_offset(params, item, token, kIsK ? params.k_stride_page : params.v_stride_page,
                   kIsK ? params.k_stride_token : params.v_stride_token);
}

// Starts the copies of kRows tokens' rows of a KV head, of which the elements [first_dim, first_dim + dims)
// are taken; rows from `end` on, and elements beyond `dims`, become 0: what lies there is not read, and a
// stale NaN would not be undone by a weight of 0.
template <bool kIsK, int kRows, int kDims, int kThreads>
STROBE_DEVICE void copy_tile(const AttentionParams& params, const AttentionItem& item, int32_t kv_head,
                             int32_t first_dim, int32_t dims, int32_t first_token, int32_t end,
                             SharedAddress tile) {
  constexpr int kRowChunks = kDims / kChunkDims, kChunks = kRows * kRowChunks;
  const char* data = (kIsK ? params.k : params.v) +
                     kv_head * (kIsK ? params.k_stride_head : params.v_stride_head) + first_dim * 2;
#pragma unroll(kDims > 256 ? 2 : 16)
  for (int i = 0; i < kChunks; i += kThreads) {
    const int32_t index = i + static_cast<int32_t>(threadIdx.x);
    if (kChunks % kThreads != 0 && index >= kChunks) break;
    const int32_t row = index / kRowChunks, chunk = index % kRowChunks;
    const int32_t token = first_token + row;
    const bool valid = token < end && chunk * kChunkDims < dims;
    const char* from = data;
    if (valid) from += token_offset<kIsK>(params, item, token) + chunk * kChunkBytes;
    copy_async_or_zero<kChunkBytes>(tile + chunk_place<kDims>(row, chunk), from, valid);
  }
}

}  // namespace strobe::kernel
