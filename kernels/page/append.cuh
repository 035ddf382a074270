// Writes the rows of new tokens (keys and values, or the two parts of MLA's latent KV) into paged caches.
//
// With kPair, a thread does one vector of a token's key and the same one of its value (or of both parts of
// MLA's, as far as they go): many tokens, two loads of each thread under way. Else it has one vector, and the
// first blocks do all keys, the others all values: few tokens, whose time is that of one load after the
// other. While its loads are under way a thread looks up where the token goes (a warp's threads ask for the
// same words): three loads one after the other, of which the first go before the vectors.
//
// 32k tokens of 2 x 2 KiB on an H200, where a copy of as many bytes takes 65.9 us: 65.3 to pages in
// order, 67.8 to pages at random, which without any look-up take 66.5. Before, two vectors of a thread were
// of one row: 70.0 at random. Whole tokens by bulk copies: 68.5; blocks of 4 and 8 tokens that share their
// look-ups: 68.4.
//
// Constants: Dtype kInput, kOutput (equal: bits are copied); int kVector; bool kPair.
#include "page/page_params.h"
#include "ptx/dependency.h"
#include "tile/sm.h"
#include "tile/vector.h"

namespace strobe::kernel {

constexpr int kThreads = 256;

// Of a token's place in the caches; page -1: it goes nowhere.
struct Place {
  int32_t page, slot;
};

// What lies outside the request's pages or the cache is not written: the host cannot check it.
STROBE_DEVICE Place place_of(const AppendParams& params, int32_t request, int32_t position) {
  constexpr Place kNowhere{-1, 0};
  if (request < 0 || request >= params.batch_size || position < 0) return kNowhere;
  const int32_t page = static_cast<int32_t>(quotient(position, params.page_size));
  const int32_t begin = params.kv_indptr[request], end = params.kv_indptr[request + 1];
  if (page >= end - begin || begin < 0 || end > params.num_kv_indices) return kNowhere;
  const int32_t number = params.kv_indices[begin + page];
  if (number < 0 || number >= params.num_pages) return kNowhere;
  return {number, static_cast<int32_t>(remainder(position, page, params.page_size))};
}

// Where vector `index` of a token lies.
struct Part {
  uint32_t head;
  int64_t column;  // elements

  STROBE_DEVICE Part(const AppendRows& rows, uint32_t index) : head(quotient(index, rows.row_vectors)) {
    column = static_cast<int64_t>(remainder(index, head, rows.row_vectors)) * kVector;
  }
};

template <Dtype kFrom, Dtype kTo>
STROBE_DEVICE Vector<kTo, kVector> converted(const Vector<kFrom, kVector>& x, float factor) {
  if constexpr (kFrom == kTo) {
    return x;
  } else {
    float values[kVector];
    unpack(x, values);
#pragma unroll
    for (float& value : values) value *= factor;
    return pack<kTo>(values);
  }
}

}  // namespace strobe::kernel

extern "C" __global__ void __launch_bounds__(strobe::kernel::kThreads,
                                             strobe::kernel::kMostSmThreads / strobe::kernel::kThreads)
    strobe_append(const __grid_constant__ strobe::kernel::AppendParams params) {
  using namespace strobe::kernel;
  wait_for_kernel_before();
  constexpr int kRows = kPair ? 2 : 1;
  const uint32_t which = !kPair && blockIdx.x >= params.first_blocks;
  const AppendRows* rows = params.rows + which;
  const uint32_t index = (blockIdx.x - which * params.first_blocks) * kThreads + threadIdx.x;
  const uint32_t token = quotient(index, rows->threads), vector = remainder(index, token, rows->threads);
  if (token >= params.tokens) return;
  const int32_t request = params.batch_indices[token], position = params.positions[token];
  Vector<kInput, kVector> x[kRows];
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    if (vector >= rows[r].vectors) continue;
    const Part part(rows[r], vector);
    load(x[r], rows[r].in + token * rows[r].in_token_stride + part.head * rows[r].in_head_stride +
                   part.column * size_of(kInput));
  }
  const Place place = place_of(params, request, position);
  let_next_kernel_begin();
  if (place.page < 0) return;
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    if (vector >= rows[r].vectors) continue;
    const Part part(rows[r], vector);
    store(rows[r].out + place.page * rows[r].page_stride + place.slot * rows[r].slot_stride +
              part.head * rows[r].head_stride + part.column * size_of(kOutput),
          converted<kInput, kOutput>(x[r], rows[r].factor));
  }
}
