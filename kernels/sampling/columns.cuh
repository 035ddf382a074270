// A row spread over the warps of a cluster: which columns a lane has, and how it gets at them.
//
// Warp g of the cluster (g = rank * kWarps + warp of the block) owns 32 * kVector * warp_steps consecutive
// columns; lane l has the vectors l, l + 32, … of them. So columns rise with (warp, step, lane), and a
// running sum over the warps is one over columns. When the row is kept, step s of warp w lies at vector (w *
// warp_steps + s) * 32 + lane of the block's shared memory: each thread reads what it has copied itself.
#pragma once

#include "ptx/async_copy.h"
#include "ptx/cluster.h"
#include "sampling/sampling_params.h"
#include "tile/vector.h"

namespace strobe::kernel {

constexpr int kThreads = 512, kWarps = kThreads / 32;
// Blocks of an SM that its registers are shared out to. Where an SM has 100 KiB of shared memory, the columns
// of long rows leave room for one.
#if __CUDA_ARCH__ == 860 || __CUDA_ARCH__ == 890 || __CUDA_ARCH__ >= 1200
constexpr int kSmBlocks = 1;
#else
constexpr int kSmBlocks = 2;
#endif
constexpr int kBatch = kVector == 1 ? 4 : 8 / kVector;  // vectors of a lane that are loaded together

using ColumnVector = Vector<kInput, kVector>;

STROBE_DEVICE int lane_of_thread() { return static_cast<int>(threadIdx.x % 32); }
STROBE_DEVICE int warp_of_thread() { return static_cast<int>(threadIdx.x / 32); }

class Columns {
 public:
  STROBE_DEVICE Columns(const SamplingParams& params, const char* row, ColumnVector* kept)
      : row_(row),
        kept_(params.keeps_row ? kept + (warp_of_thread() * params.warp_steps * 32 + lane_of_thread())
                               : nullptr),
        steps_(params.warp_steps),
        vocab_size_(params.vocab_size) {
    const int warp = static_cast<int>(cluster_rank()) * kWarps + warp_of_thread();
    first_ = (warp * params.warp_steps * 32 + lane_of_thread()) * kVector;
  }

  // Brings the columns to shared memory, where they are kept.
  STROBE_DEVICE void fetch() const {
    if (kept_ == nullptr) return;
    for (int step = 0; step < steps_; ++step) {
      if (column(step) >= vocab_size_) break;
      if constexpr (ColumnVector::kBytes >= 4)
        copy_async<ColumnVector::kBytes>(kept_ + step * 32, address(step));
      else
        load(kept_[step * 32], address(step));
    }
    end_copy_group();
    wait_for_copies<0>();
  }

  // Calls f(step, column, values) for the lane's vectors.
  template <class F>
  STROBE_DEVICE void for_each(F f) const {
    for (int step = 0; step < steps_; step += kBatch) {
      ColumnVector vectors[kBatch];
#pragma unroll
      for (int i = 0; i < kBatch; ++i)
        if (exists(step + i)) get(step + i, vectors[i]);
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        if (!exists(step + i)) break;
        float values[kVector];
        unpack(vectors[i], values);
        f(step + i, column(step + i), values);
      }
    }
  }

  STROBE_DEVICE int steps() const { return steps_; }
  STROBE_DEVICE int column(int step) const { return first_ + step * (32 * kVector); }
  STROBE_DEVICE bool exists(int step) const { return step < steps_ && column(step) < vocab_size_; }
  STROBE_DEVICE void get(int step, ColumnVector& vector) const {
    if (kept_ != nullptr)
      vector = kept_[step * 32];
    else
      load(vector, address(step));
  }

 private:
  STROBE_DEVICE const char* address(int step) const {
    return row_ + static_cast<int64_t>(column(step)) * size_of(kInput);
  }

  const char* row_;
  ColumnVector* kept_;
  int steps_, vocab_size_, first_;
};

}  // namespace strobe::kernel
