// A block that plans together, and what it reads of the index arrays.
#pragma once

#include "attention/decode_plan_params.h"
#include "ptx/shuffle.h"

namespace strobe::kernel {

constexpr int kThreads = 256, kWarps = kThreads / kWarpThreads;

// The threads of the block.
class BlockTeam {
 public:
  STROBE_DEVICE explicit BlockTeam(int64_t* shared) : of_warps_(shared) {}

  STROBE_DEVICE int32_t rank() const { return static_cast<int32_t>(threadIdx.x); }
  STROBE_DEVICE int32_t size() const { return kThreads; }
  STROBE_DEVICE void sync() { __syncthreads(); }

  STROBE_DEVICE int64_t sum_before(int64_t x) {
    int64_t sum = x;
#pragma unroll
    for (int distance = 1; distance < kWarpThreads; distance *= 2) {
      const int64_t below = of_lane_below(sum, distance);
      if (lane() >= distance) sum += below;
    }
    if (lane() == kWarpThreads - 1) of_warps_[warp()] = sum;
    __syncthreads();
    for (int w = 0; w < warp(); ++w) sum += of_warps_[w];
    __syncthreads();
    return sum - x;
  }
  STROBE_DEVICE int64_t sum(int64_t x) {
    return joined(x, [](int64_t a, int64_t b) { return a + b; });
  }
  STROBE_DEVICE int64_t most(int64_t x) {
    return joined(x, [](int64_t a, int64_t b) { return a < b ? b : a; });
  }
  STROBE_DEVICE bool any(bool x) { return most(x ? 1 : 0) != 0; }

 private:
  STROBE_DEVICE static int lane() { return static_cast<int>(threadIdx.x % kWarpThreads); }
  STROBE_DEVICE static int warp() { return static_cast<int>(threadIdx.x / kWarpThreads); }
  STROBE_DEVICE static int64_t of_lane_below(int64_t x, int distance) {
    const auto word = [&](int64_t bits) {
      return __shfl_up_sync(0xffffffff, static_cast<uint32_t>(bits), static_cast<unsigned>(distance));
    };
    return static_cast<int64_t>(static_cast<uint64_t>(word(x >> 32)) << 32 | word(x));
  }

  template <class F>
  STROBE_DEVICE int64_t joined(int64_t x, F join) {
    for (int distance = kWarpThreads / 2; distance > 0; distance /= 2) {
      const auto word = [&](int64_t bits) {
        return __shfl_down_sync(0xffffffff, static_cast<uint32_t>(bits), static_cast<unsigned>(distance));
      };
      x = join(x, static_cast<int64_t>(static_cast<uint64_t>(word(x >> 32)) << 32 | word(x)));
    }
    if (lane() == 0) of_warps_[warp()] = x;
    __syncthreads();
    x = of_warps_[0];
    for (int w = 1; w < kWarps; ++w) x = join(x, of_warps_[w]);
    __syncthreads();
    return x;
  }

  int64_t* of_warps_;
};

// Without query tokens where its numbers cannot be.
STROBE_DEVICE AttentionRequest request_of(const DecodePlanParams& p, int32_t r, bool& valid) {
  const int64_t q_row = p.qo_indptr[r], qo_len = p.qo_indptr[r + 1] - q_row;
  const int64_t kv_base = p.kv_indptr[r], entries = p.kv_indptr[r + 1] - kv_base;
  int64_t kv_len = entries, most = entries;
  valid = q_row >= 0 && qo_len >= 0 && qo_len <= p.qo_len && q_row + qo_len <= p.query_tokens &&
          kv_base >= 0 && entries >= 0 && kv_base + entries <= p.kv_entries;
  if (p.page_size > 0) {
    most = entries * p.page_size;
    if (p.kv_len != nullptr)
      kv_len = p.kv_len[r];
    else
      kv_len = entries == 0 ? 0 : (entries - 1) * p.page_size + p.last_page_len[r];
  }
  valid = valid && kv_len >= 0 && kv_len <= most && most < int64_t{1} << 30;
  return {.request = r,
          .q_row = static_cast<int32_t>(q_row),
          .qo_len = valid ? static_cast<int32_t>(qo_len) : 0,
          .kv_base = static_cast<int32_t>(kv_base),
          .kv_len = valid ? static_cast<int32_t>(kv_len) : 0};
}

}  // namespace strobe::kernel
