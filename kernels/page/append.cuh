// Writes the rows of new tokens (keys and values, or the two parts of MLA's latent KV) into paged caches.
//
// The first blocks write all keys (or latent KV), the others all values, so that a block has one kind of row
// (both at once are as fast on an H200). A thread does kItems vectors of one token, as many apart as the
// token has threads. While its loads are under way it looks up where the token goes (a warp's threads ask for
// the same words): three loads one after the other, of which the first go before the vectors.
//
// Constants: Dtype kInput, kOutput (equal: bits are copied); int kVector, kItems.
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
  const bool is_first = blockIdx.x < params.first_blocks;
  const AppendRows& rows = params.rows[is_first ? 0 : 1];
  const uint32_t index = (blockIdx.x - (is_first ? 0 : params.first_blocks)) * kThreads + threadIdx.x;
  const uint32_t token = quotient(index, rows.threads), vector = remainder(index, token, rows.threads);
  if (token >= params.tokens) return;
  const int32_t request = params.batch_indices[token], position = params.positions[token];
  Vector<kInput, kVector> x[kItems];
#pragma unroll
  for (int item = 0; item < kItems; ++item) {
    if (vector + item * rows.threads.value >= rows.vectors) continue;
    const Part part(rows, vector + item * rows.threads.value);
    load(x[item], rows.in + token * rows.in_token_stride + part.head * rows.in_head_stride +
                      part.column * size_of(kInput));
  }
  const Place place = place_of(params, request, position);
  let_next_kernel_begin();
  if (place.page < 0) return;
#pragma unroll
  for (int item = 0; item < kItems; ++item) {
    if (vector + item * rows.threads.value >= rows.vectors) continue;
    const Part part(rows, vector + item * rows.threads.value);
    store(rows.out + place.page * rows.page_stride + place.slot * rows.slot_stride +
              part.head * rows.head_stride + part.column * size_of(kOutput),
          converted<kInput, kOutput>(x[item], rows.factor));
  }
}
