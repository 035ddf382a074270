// A tile's results on their way out of a math group's registers.
#pragma once

#include "attention/sm90/math_group.cuh"
#include "ptx/exponent.h"
#include "ptx/matrix.h"
#include "ptx/memory.h"
#include "ptx/named_barrier.h"
#include "ptx/tensor_copy.h"
#include "tile/element.h"

namespace strobe::kernel {

constexpr int kChunkBytes = 16, kPanelChunks = kPanelRowBytes / kChunkBytes;

STROBE_DEVICE int32_t staged_chunk(int32_t row, int32_t chunk) {
  return chunk / kPanelChunks * kQueryPanel + row * kPanelRowBytes +
         (((chunk % kPanelChunks) ^ (row & 7)) * kChunkBytes);
}

// Where the thread has element i of its j-th word of a row of V, and of the results: two neighbours of each 8
// elements, of e4m3, which are in the order of transpose.cuh, four of each 16.
STROBE_DEVICE constexpr int output_of(int j, int i, int half) {
  return kFp8 ? 8 * j + i % 2 * 4 + 2 * half + i / 2 : 4 * j + 2 * half + i;
}

// To shared memory as the copy engine takes it.
STROBE_DEVICE void stage_results(const Outputs& out, const float (&factor)[2], SharedAddress staging,
                                 int32_t first_row, int32_t lane) {
  const int32_t row = first_row + (lane & 15);
#pragma unroll
  for (int step = 0; step < kDimVo / 16; ++step) {
    uint32_t words[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int at = 8 * step + 2 * i;
      words[i] = pair_of<kType>(out[at] * factor[i % 2], out[at + 1] * factor[i % 2]);
    }
    store_matrices(staging + staged_chunk(row, 2 * step + (lane >> 4)), words);
  }
}

// Where a row of the group belongs.
STROBE_DEVICE char* place_of_row(const AttentionSm90Params& params, const Tile& tile, int32_t row) {
  const int32_t token = row >> params.pack_log2,
                head = tile.pack << params.pack_log2 | (row & ((1 << params.pack_log2) - 1));
  return params.attention.out + (tile.item.q_row + token) * params.attention.out_stride_token +
         head * params.attention.out_stride_head;
}

// Where the tile ends within the group's rows a tensor copy would write into the next request.
STROBE_DEVICE void copy_staged_rows(const AttentionSm90Params& params, const Tile& tile, const char* staging,
                                    int32_t first_row, int32_t rows) {
  constexpr int kRowChunks = kDimVo * 2 / kChunkBytes;
#pragma unroll 1
  for (int32_t i = static_cast<int32_t>(threadIdx.x) % kGroupThreads; i < rows * kRowChunks;
       i += kGroupThreads) {
    const int32_t row = i / kRowChunks, chunk = i % kRowChunks;
    *reinterpret_cast<uint4*>(place_of_row(params, tile, first_row + row) + chunk * kChunkBytes) =
        *reinterpret_cast<const uint4*>(staging + staged_chunk(row, chunk));
  }
}

// Four lanes with a word each of four chunks: afterwards each has a chunk, the one of its number.
STROBE_DEVICE void exchange_chunks(Access<kChunkBytes>& x, int32_t lane) {
  const bool odd = lane & 1, upper = lane & 2;
  uint32_t(&word)[kChunkBytes / 4] = x.word;
#pragma unroll
  for (int i = 0; i < 4; i += 2) {
    const uint32_t other = __shfl_xor_sync(0xffffffff, odd ? word[i] : word[i + 1], 1);
    word[i] = odd ? other : word[i];
    word[i + 1] = odd ? word[i + 1] : other;
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const uint32_t other = __shfl_xor_sync(0xffffffff, upper ? word[i] : word[i + 2], 2);
    word[i] = upper ? other : word[i];
    word[i + 2] = upper ? word[i + 2] : other;
  }
}

// Straight from registers, where the row exists: neighbouring elements of four threads, then the next ones.
// Of 16 bits whole chunks, so that sectors are written whole.
template <Dtype kOut>
STROBE_DEVICE void store_row(char* to, bool exists, const Outputs& out, float factor, int half,
                             int32_t lane) {
  constexpr bool kExchanges = !kFp8 && kOut != Dtype::kF32;
  constexpr int kWords = kExchanges ? 4 : 1, kNeighbours = kFp8 ? 4 : 2;
  constexpr int kBytes = kExchanges ? kChunkBytes : kNeighbours * size_of(kOut);
  if (!kExchanges && !exists) return;
  to += lane % 4 * kBytes;
#pragma unroll
  for (int j = 0; j < kDimVo / (4 * kNeighbours); j += kWords) {
    Access<kBytes> words;
#pragma unroll
    for (int i = 0; i < kWords * kNeighbours; i += 2) {
      const int word = j + i / kNeighbours;
      const float first = out[output_of(word, i % kNeighbours, half)] * factor,
                  second = out[output_of(word, i % kNeighbours + 1, half)] * factor;
      if constexpr (kOut == Dtype::kF32) {
        words.word[i] = bits_of(first);
        words.word[i + 1] = bits_of(second);
      } else {
        words.word[i / 2] = pair_of<kOut>(first, second);
      }
    }
    if constexpr (kExchanges) exchange_chunks(words, lane);
    if (exists) store<kBytes>(to + j / kWords * 4 * kBytes, words);
  }
}

// Results of 8-bit operands are of any format, others f32 or as the operands.
STROBE_DEVICE void store_result(const AttentionParams& attention, char* to, bool exists, const Outputs& out,
                                float factor, int half, int32_t lane) {
  if constexpr (!kFp8)
    store_row<kType>(to, exists, out, factor, half, lane);
  else if (static_cast<Dtype>(attention.out_dtype) == Dtype::kBf16)
    store_row<Dtype::kBf16>(to, exists, out, factor, half, lane);
  else
    store_row<Dtype::kF16>(to, exists, out, factor, half, lane);
}

// The number of a row of a tile among the partial results.
STROBE_DEVICE int64_t partial_of_row(const AttentionSm90Params& params, const Tile& tile, int32_t row) {
  const int32_t pack = tile.pack - tile.item.kv_head * params.packs_of_kv_head;
  const int32_t token = row >> params.pack_log2,
                head = pack << params.pack_log2 | (row & ((1 << params.pack_log2) - 1));
  return static_cast<int64_t>(tile.item.slot + tile.item.kv_head) * params.attention.partial_rows +
         token * static_cast<int32_t>(params.attention.group.value) + head;
}

// NaN and Inf that were taken out of V, to the rows that attend to them.
STROBE_DEVICE void add_specials(const MathGroup& math, const Tile& tile, Outputs& out) {
  const AttentionParams& attention = math.params.attention;
  const TokenRange seen[2] = {math.seen_by(0), math.seen_by(1)};
#pragma unroll 1
  for (int32_t token = max(tile.item.kv_begin, tile.first * kBlockTokens); token < tile.item.kv_end;
       ++token) {
    const bool sees[2] = {token >= seen[0].begin && token < seen[0].end,
                          token >= seen[1].begin && token < seen[1].end};
    if (!tile.is_masked(token / kBlockTokens) || !(sees[0] || sees[1])) continue;
    const char* row =
        attention.v + tile.item.kv_head * attention.v_stride_head +
        kv_offset(attention, tile.item, token, attention.v_stride_page, attention.v_stride_token) +
        math.lane % 4 * 4;
    constexpr int kWordElements = 4 / kElementBytes, kStride = 4 * kWordElements;  // of a thread's neighbours
#pragma unroll
    for (int j = 0; j < kDimVo / kStride; ++j) {
#pragma unroll
      for (int i = 0; i < kWordElements; ++i) {
        const float x = load_float<kType>(row + j * 16 + i * kElementBytes);
        const float special = fabsf(x) < __int_as_float(0x7f800000) ? 0.0f : x;
#pragma unroll
        for (int half = 0; half < 2; ++half)
          if (sees[half]) out[output_of(j, i, half)] += special;
      }
    }
  }
}

// The group's whole rows go out by a tensor copy.
STROBE_DEVICE void send_results(const MathGroup& math, const Tile& tile, const Outputs& out,
                                const float (&factor)[2], int32_t rows) {
  const AttentionSm90Params& params = math.params;
  const int32_t first = math.group * kGroupRows, at = kResultsAt + math.group * kResultBytes;
  const bool sends = threadIdx.x % kGroupThreads == 0;
  if (sends) wait_for_store_reads();
  sync_threads(results_sent(math.group), kGroupThreads);
  stage_results(out, factor, math.base + at, math.row - math.lane / 4, math.lane);
  order_before_async();
  sync_threads(results_staged(math.group), kGroupThreads);
  if (first + kGroupRows > rows) {
    copy_staged_rows(params, tile, math.shared + at, first, rows - first);
    return;
  }
  if (!sends) return;
  constexpr int kCopies = sm90_maps_panels(kType, kDimVo) ? 1 : kVoPanels;
#pragma unroll
  for (int panel = 0; panel < kCopies; ++panel)
    store_box(params.out,
              {panel * kPanelElements, 0, tile.item.q_row + (first >> params.pack_log2), 0, tile.pack},
              math.base + at + panel * kQueryPanel);
  end_store_group();
}

// What RowEnd is, where there are no sinks by instructions of the special function unit.
STROBE_DEVICE void end_row(const AttentionParams& params, float maximum, float sum, int32_t head, bool whole,
                           float& factor, float& lse) {
  if (params.sinks != nullptr) {
    const RowEnd end(params, maximum, sum, head, whole);
    factor = end.factor;
    lse = end.lse;
    return;
  }
  factor = sum == 0 ? 0.0f : __fdividef(whole ? params.v_scale : 1.0f, sum);
  lse = sum == 0 ? minus_infinity() : maximum + log2_approx(sum);
}

// Everything that is left of a tile once its products are done.
STROBE_DEVICE void finish_tile(MathGroup& math, const Tile& tile, Outputs& out, const RowStates& state) {
  const AttentionSm90Params& params = math.params;
  const AttentionParams& attention = params.attention;
  const int32_t rows = tile.item.q_tokens << params.pack_log2;
  const bool whole = tile.item.slot < 0;
  const bool is_f32 = !whole || static_cast<Dtype>(attention.out_dtype) == Dtype::kF32;
  if ((tile.specials[0] | tile.specials[1] | tile.specials[2]) != 0) add_specials(math, tile, out);
  float factor[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float sum = sum_of_row(state.sum[half]);
    const int32_t row = math.group * kGroupRows + math.row + 8 * half, token = row >> params.pack_log2;
    const int32_t head = tile.pack << params.pack_log2 | (row & ((1 << params.pack_log2) - 1));
    const bool exists = row < rows;
    float lse;
    end_row(attention, state.maximum[half] * math.scale_of(half) - kLift, sum, head, whole, factor[half],
            lse);
    if (kFp8 && sum != 0) factor[half] *= head_scale(attention.v_scales, tile.item.kv_head);
    const int64_t partial = whole ? 0 : partial_of_row(params, tile, row);
    char* to = whole ? place_of_row(params, tile, row)
                     : reinterpret_cast<char*>(attention.partial_out + partial * kDimVo);
    if (exists && math.lane % 4 == 0) {
      if (!whole)
        attention.partial_lse[partial] = lse;
      else if (attention.lse != nullptr)
        *reinterpret_cast<float*>(reinterpret_cast<char*>(attention.lse) +
                                  (tile.item.q_row + token) * attention.lse_stride_token +
                                  head * attention.lse_stride_head) = lse;
    }
    if (is_f32)
      store_row<Dtype::kF32>(to, exists, out, factor[half], half, math.lane);
    else if constexpr (!kStagesResults)
      store_result(attention, to, exists, out, factor[half], half, math.lane);
  }
  if constexpr (kStagesResults)
    if (!is_f32) send_results(math, tile, out, factor, rows);
}

}  // namespace strobe::kernel
