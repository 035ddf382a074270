// The decode kernel of attention on NVIDIA GPUs: which batches it serves, its tiles, its work list, its
// launch.
#pragma once

#include <array>
#include <span>
#include <string>

#include "attention/attention_params.h"
#include "ops/attention_cuda_shape.h"
#include "ops/cuda_rows.h"
#include "plan/decode_work_list.h"

namespace strobe::op {

// How a block works on the KV cache.
struct DecodeTiling {
  int warps, stages, tile_rows;
  int shared_bytes;  // of a block
};

struct DecodeTilingShape {
  int kv_bytes, head_dim_qk, head_dim_vo;
  int head_tiles;   // 8 query rows each
  bool general;     // masks, ALiBi or soft cap
  bool long_tiles;  // tiles of 32 rows would lie within a page
  friend bool operator==(const DecodeTilingShape&, const DecodeTilingShape&) = default;
};

// Asks for as many bytes at once as keep an SM's share of the memory bandwidth busy. `warps` is 0 when the
// architecture's shared memory is too small.
DecodeTiling choose_decode_tiling(const DecodeTilingShape& shape, cuda::Architecture architecture);

// A kernel and what its plans have in common.
struct DecodeChoice {
  bool suited = false;  // else the generic kernel takes the batch
  std::array<int, 11> values{};
  int heads_together = 1;
  int blocks = 0;  // of the grid: one for each SM
};

// By shape and query length alone, so that a request's neighbours do not change its bits.
bool serves_decode(const AttentionCudaShape& shape, int qo_len, cuda::Architecture architecture);

// The head dimensions that it serves: "64, 96, …". Others take the generic kernel.
std::string decode_head_dims(cuda::Architecture architecture);

// When `shape.fixed`, the requests' lengths are not looked at.
DecodeChoice choose_decode(const AttentionCudaShape& shape, std::span<const plan::AttentionRequest> requests,
                           const Gpu& gpu);

void plan_decode(const DecodeChoice& choice, const AttentionCudaShape& shape,
                 std::span<const plan::AttentionRequest> requests, plan::DeviceWorkList& list);

kernel::DecodeListOptions decode_list_options(const DecodeChoice& choice, const AttentionCudaShape& shape);

// The most that a plan of a fixed shape gives.
std::int32_t most_items(const DecodeChoice& choice, const AttentionCudaShape& shape);
std::int32_t most_slots(const DecodeChoice& choice, const AttentionCudaShape& shape);
std::int32_t most_merges(const DecodeChoice& choice, const AttentionCudaShape& shape);

// Throws Error(kUnsupported) when rows of K and V do not begin at multiples of 16 bytes, or rows of Q at
// multiples of 4.
void launch_decode(const DecodeChoice& choice, const kernel::AttentionParams& params, const Gpu& gpu,
                   const Launch& launch);

}  // namespace strobe::op
