// Plans of the decode kernel that the GPU makes from index arrays in its own memory.
#pragma once

#include "attention/decode_plan_params.h"
#include "cuda/device_buffer.h"
#include "ops/attention_decode_cuda.h"

namespace strobe::op {

// The index arrays, and what they may hold at the most beside the shape's capacity.
struct DeviceIndices {
  const std::int32_t *qo_indptr, *kv_indptr, *last_page_len, *kv_len;  // see kernel::DecodePlanParams
  std::int32_t requests, kv_entries;
};

// Memory for lists of a fixed shape, and for making them.
class DeviceDecodePlan {
 public:
  // Whether the memory that is there is large enough for such plans.
  bool holds(const DecodeChoice& choice, const AttentionCudaShape& shape, Device device) const;
  // Allocates; not to be called while a graph holds what is there.
  void reserve(const DecodeChoice& choice, const AttentionCudaShape& shape, Device device);
  // Enqueues the plan.
  void make(const DecodeChoice& choice, const AttentionCudaShape& shape, const DeviceIndices& indices,
            const Gpu& gpu, const Launch& launch);

  // What the arrays hold that the last plan was made of, as they are now: waits for the stream, which is not
  // being captured.
  kernel::IndexFault check(const std::int32_t* kv_indices, std::int32_t num_pages, const Gpu& gpu,
                           const Launch& launch) const;

  // Puts the plan's arrays into what the decode kernel takes.
  void set(kernel::AttentionParams& params) const;

 private:
  // Offsets in the buffer.
  struct Layout {
    std::size_t fault, counts, items, runs, merges, arrivals, arrivals_bytes, requests, cost, places,
        by_request, by_block, of_requests, of_blocks, bytes;
  };
  static Layout layout(const DecodeChoice& choice, const AttentionCudaShape& shape);
  template <class T>
  T* at(std::size_t offset) const {
    return reinterpret_cast<T*>(static_cast<char*>(buffer_.data()) + offset);
  }

  Layout layout_{};
  kernel::DecodePlanParams params_{};  // of the last plan
  cuda::DeviceBuffer buffer_;
};

}  // namespace strobe::op
