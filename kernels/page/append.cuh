// Writes the rows of new tokens (keys and values, or the two parts of MLA's latent KV) into paged caches.
//
// A thread does kItems vectors of one token, as many apart as the token has threads: it loads them, looks up
// where the token goes (a warp's threads ask for the same words), and stores.
//
// Constants: Dtype kInput, kOutput (equal: bits are copied); int kVector, kItems.
#include "page/page_params.h"
#include "ptx/dependency.h"
#include "tile/vector.h"

namespace strobe::kernel {

constexpr int kThreads = 256;

// Of a token's place in the caches; page -1: it goes nowhere.
struct Place {
  int32_t page, slot;
};

// What lies outside the request's pages or the cache is not written: the host cannot check it.
STROBE_DEVICE Place place_of(const AppendParams& params, uint32_t token) {
  constexpr Place kNowhere{-1, 0};
  const int32_t request = params.batch_indices[token], position = params.positions[token];
  if (request < 0 || request >= params.batch_size || position < 0) return kNowhere;
  const int32_t page = static_cast<int32_t>(quotient(position, params.page_size));
  const int32_t begin = params.kv_indptr[request], end = params.kv_indptr[request + 1];
  if (page >= end - begin || begin < 0 || end > params.num_kv_indices) return kNowhere;
  const int32_t number = params.kv_indices[begin + page];
  if (number < 0 || number >= params.num_pages) return kNowhere;
  return {number, static_cast<int32_t>(remainder(position, page, params.page_size))};
}

// Where vector `index` of a token lies: in which rows, and how far from the token's first.
struct Part {
  const AppendRows& rows;
  uint32_t head;
  int64_t column;  // elements

  STROBE_DEVICE Part(const AppendParams& params, uint32_t index)
      : rows(params.rows[index < params.first_vectors ? 0 : 1]) {
    if (index >= params.first_vectors) index -= params.first_vectors;
    head = quotient(index, rows.row_vectors);
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

extern "C" __global__ void __launch_bounds__(strobe::kernel::kThreads, 6)
    strobe_append(const __grid_constant__ strobe::kernel::AppendParams params) {
  using namespace strobe::kernel;
  wait_for_kernel_before();
  const uint32_t token_threads = params.threads.value;
  const uint32_t index = blockIdx.x * kThreads + threadIdx.x;
  const uint32_t token = quotient(index, params.threads), vector = remainder(index, token, params.threads);
  if (token >= params.tokens) return;
  Vector<kInput, kVector> x[kItems];
#pragma unroll
  for (int item = 0; item < kItems; ++item) {
    if (vector + item * token_threads >= params.vectors) continue;
    const Part part(params, vector + item * token_threads);
    load(x[item], part.rows.in + token * part.rows.in_token_stride + part.head * part.rows.in_head_stride +
                      part.column * size_of(kInput));
  }
  const Place place = place_of(params, token);
  let_next_kernel_begin();
  if (place.page < 0) return;
#pragma unroll
  for (int item = 0; item < kItems; ++item) {
    if (vector + item * token_threads >= params.vectors) continue;
    const Part part(params, vector + item * token_threads);
    store(part.rows.out + place.page * part.rows.page_stride + place.slot * part.rows.slot_stride +
              part.head * part.rows.head_stride + part.column * size_of(kOutput),
          converted<kInput, kOutput>(x[item], part.rows.factor));
  }
}
