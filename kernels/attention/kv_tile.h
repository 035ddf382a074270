// Tiles of rows of 16-bit elements in shared memory.
//
// A row is kDims elements (a multiple of 64) in chunks of 16 bytes, and one chunk of nothing: eight rows'
// chunks of one number, which a matrix load takes, fall into different banks, and all of a lane's addresses
// are one register and a constant.
#pragma once

#include "attention/rows.h"
#include "ptx/async_copy.h"
#include "ptx/convert.h"
#include "ptx/matrix.h"
#include "tile/element.h"

namespace strobe::kernel {

inline constexpr int kChunkBytes = 16, kChunkDims = 8;
inline constexpr int kPanelDims = 64, kPanelChunks = 8;  // of a row, 128 bytes

STROBE_DEVICE constexpr int tile_row_bytes(int dims) { return dims * 2 + kChunkBytes; }

// Where a lane's rows of matrix loads begin. A load takes 16 rows by 16 elements as four matrices, (rows,
// elements), in the order in which a product takes them from neighbouring registers:
//   kRowsFirst   (0, 0), (8, 0), (0, 8), (8, 8)   its first operand; transposed, its second
//   else         (0, 0), (0, 8), (8, 0), (8, 8)   its second operand
template <int kDims, bool kRowsFirst>
class MatrixPlaces {
 public:
  STROBE_DEVICE explicit MatrixPlaces(SharedAddress tile) {
    const int32_t lane = static_cast<int32_t>(threadIdx.x) % 32, matrix = lane / 8, r = lane % 8;
    const int32_t row = (kRowsFirst ? matrix % 2 : matrix / 2) * 8 + r;
    const int32_t chunk = kRowsFirst ? matrix / 2 : matrix % 2;
    place_ = tile + row * tile_row_bytes(kDims) + chunk * kChunkBytes;
  }
  // Of the elements from 16 * step of the rows from `row`.
  STROBE_DEVICE SharedAddress at(int row, int step) const {
    return place_ + row * tile_row_bytes(kDims) + step * (2 * kChunkBytes);
  }

 private:
  SharedAddress place_;
};

// Where the rows of a group of tokens lie; those of no token lie anywhere in the cache.
template <int kTokens>
struct TokenRows {
  const char *k[kTokens], *v[kTokens];
};

// A thread for each token finds its rows, of a cache that begins at k and v.
template <int kTokens>
STROBE_DEVICE void find_rows(const AttentionParams& params, const AttentionItem& item, const char* k,
                             const char* v, int32_t first_token, int32_t end, TokenRows<kTokens>& rows) {
  const auto i = static_cast<int32_t>(threadIdx.x);
  if (i >= kTokens) return;
  const int32_t token = min(first_token + i, end - 1);
  rows.k[i] = k + kv_offset(params, item, token, params.k_stride_page, params.k_stride_token);
  rows.v[i] = v + kv_offset(params, item, token, params.v_stride_page, params.v_stride_token);
}

// Starts the copies of the first `dims` elements (a multiple of 8) of `count` rows; the others, and rows from
// `count` on, become 0: what lies behind a request's last token may be a stale NaN, which a weight of 0 would
// not undo. A thread takes one chunk of each panel of every 16th row.
template <int kRows, int kDims, int kThreads>
STROBE_DEVICE void copy_rows(const char* const* rows, int32_t count, int32_t dims, SharedAddress tile) {
  constexpr int kPassRows = kThreads / kPanelChunks, kPasses = kRows / kPassRows,
                kPanels = kDims / kPanelDims;
  static_assert(kRows % kPassRows == 0);
  const int32_t row = static_cast<int32_t>(threadIdx.x) / kPanelChunks;
  const int32_t chunk = static_cast<int32_t>(threadIdx.x) % kPanelChunks;
  const SharedAddress to = tile + row * tile_row_bytes(kDims) + chunk * kChunkBytes;
  const char* from[kPasses];
#pragma unroll
  for (int i = 0; i < kPasses; ++i) from[i] = rows[row + i * kPassRows] + chunk * kChunkBytes;
  const auto copy = [&](bool whole) {
#pragma unroll
    for (int i = 0; i < kPasses; ++i)
#pragma unroll
      for (int panel = 0; panel < kPanels; ++panel) {
        const bool valid =
            whole || (row + i * kPassRows < count && (panel * kPanelChunks + chunk) * kChunkDims < dims);
        copy_async_or_zero<kChunkBytes>(
            to + i * (kPassRows * tile_row_bytes(kDims)) + panel * (kPanelChunks * kChunkBytes),
            from[i] + panel * (kPanelChunks * kChunkBytes), valid);
      }
  };
  if (count >= kRows && dims == kDims)
    copy(true);
  else
    copy(false);
}

// The same of rows of 8 bits, as they are and one after the other. `dims` is a multiple of 16. A thread's
// chunks are its own until convert_rows has taken them.
template <int kRows, int kDims, int kThreads>
STROBE_DEVICE void copy_fp8_rows(const char* const* rows, int32_t count, int32_t dims, SharedAddress raw) {
  constexpr int kRowChunks = kDims / kChunkBytes, kChunks = kRows * kRowChunks;
#pragma unroll 2
  for (int32_t index = static_cast<int32_t>(threadIdx.x); index < kChunks; index += kThreads) {
    const int32_t row = index / kRowChunks, offset = index % kRowChunks * kChunkBytes;
    const bool valid = row < count && offset < dims;
    copy_async_or_zero<kChunkBytes>(raw + index * kChunkBytes, rows[row] + (valid ? offset : 0), valid);
  }
}

struct alignas(16) ChunkWords {
  uint32_t word[4];
};

// Four 8-bit elements as two pairs of kType.
template <Dtype kType, Dtype kCache>
STROBE_DEVICE void widen(uint32_t four, uint32_t& first, uint32_t& second) {
  f16_pairs_of<kCache>(four, first, second);
  if constexpr (kType == Dtype::kBf16) {
    float a, b;
    floats_of<Dtype::kF16>(first, a, b);
    first = pair_of<kType>(a, b);
    floats_of<Dtype::kF16>(second, a, b);
    second = pair_of<kType>(a, b);
  }
}

// The thread's chunks of 8-bit rows become a tile's.
template <Dtype kType, int kRows, int kDims, int kThreads>
STROBE_DEVICE void convert_rows(const char* raw, Dtype cache, char* tile) {
  constexpr int kRowChunks = kDims / kChunkBytes, kChunks = kRows * kRowChunks;
#pragma unroll 1
  for (int32_t index = static_cast<int32_t>(threadIdx.x); index < kChunks; index += kThreads) {
    const ChunkWords from = *reinterpret_cast<const ChunkWords*>(raw + index * kChunkBytes);
    char* to = tile + index / kRowChunks * tile_row_bytes(kDims) + index % kRowChunks * (2 * kChunkBytes);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      ChunkWords words;
#pragma unroll
      for (int i = 0; i < 2; ++i)
        if (cache == Dtype::kE4m3)
          widen<kType, Dtype::kE4m3>(from.word[half * 2 + i], words.word[i * 2], words.word[i * 2 + 1]);
        else
          widen<kType, Dtype::kE5m2>(from.word[half * 2 + i], words.word[i * 2], words.word[i * 2 + 1]);
      *reinterpret_cast<ChunkWords*>(to + half * kChunkBytes) = words;
    }
  }
}

// Elements 2i and 2i + 1 of a row of any alignment as a pair of kType.
template <Dtype kType>
STROBE_DEVICE uint32_t load_pair(const char* row, int32_t i, Dtype from) {
  return pair_of<kType>(load_float(row, 2 * i, from), load_float(row, 2 * i + 1, from));
}

// Loads rows of any float format and alignment, pair by pair; otherwise like copy_rows, and done when it
// returns.
template <Dtype kType, int kRows, int kDims, int kThreads>
STROBE_DEVICE void load_rows(const char* const* rows, int32_t count, int32_t dims, Dtype from, char* tile) {
  constexpr int kRowPairs = kDims / 2;
#pragma unroll 1
  for (int32_t index = static_cast<int32_t>(threadIdx.x); index < kRows * kRowPairs; index += kThreads) {
    const int32_t row = index / kRowPairs, pair = index % kRowPairs;
    *reinterpret_cast<uint32_t*>(tile + row * tile_row_bytes(kDims) + pair * 4) =
        row < count && pair * 2 < dims ? load_pair<kType>(rows[row], pair, from) : 0;
  }
}

}  // namespace strobe::kernel
