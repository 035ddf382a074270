// A row cut into segments of consecutive columns, and the vectors of them that a lane has.
//
// A segment is segment_batches * kBatch vectors of each lane of a warp: batch b of it has the vectors (b *
// kBatch + i) * 32 + lane. Segment s is worked on by warp s % (warps of the cluster), so that the warps share
// a row evenly whatever its length, and a sum over a segment is one over consecutive columns. When the row is
// kept, a lane's vectors lie 32 * kWarps apart in the block's shared memory: each thread reads what it has
// copied itself.
#pragma once

#include "ptx/async_copy.h"
#include "ptx/cluster.h"
#include "sampling/sampling_params.h"
#include "sampling/weight.h"
#include "tile/vector.h"

namespace strobe::kernel {

constexpr bool kLogits = kSource == TokenSource::kLogits;
constexpr int kThreads = kSamplingThreads, kWarps = kThreads / 32;
// Blocks of an SM that its registers are shared out to. Where an SM has 100 KiB of shared memory, what a
// block needs of it leaves room for one.
#if __CUDA_ARCH__ == 860 || __CUDA_ARCH__ == 890 || __CUDA_ARCH__ >= 1200
constexpr int kSmBlocks = 1;
#else
constexpr int kSmBlocks = 2;
#endif
constexpr int kBatch = kVector == 1 ? 4 : 8 / kVector;  // vectors of a lane that are loaded together
constexpr int kVectorStep = 32 * kVector;               // from a lane's vector to its next one

using ColumnVector = Vector<kInput, kVector>;

STROBE_DEVICE int lane_of_thread() { return static_cast<int>(threadIdx.x % 32); }
STROBE_DEVICE int warp_of_thread() { return static_cast<int>(threadIdx.x / 32); }

class Columns {
 public:
  STROBE_DEVICE Columns(const SamplingParams& params, const char* row, ColumnVector* kept)
      : params_(params), row_(row), kept_(kept) {}

  STROBE_DEVICE int vocab_size() const { return params_.vocab_size; }
  // Calls f(segment) for the warp's segments.
  template <class F>
  STROBE_DEVICE void for_each_segment(F f) const {
#pragma unroll 1
    for (int segment = first_segment(); segment < params_.segments; segment += kWarpStride) f(segment);
  }

  // Brings the first of the warp's segments to L2, as many as it should be ahead of itself.
  STROBE_DEVICE void prefetch() const {
    for (int i = 0; i < params_.segments_ahead; ++i) prefetch(first_segment() + i * kWarpStride);
  }
  STROBE_DEVICE void prefetch(int segment) const {
    constexpr int kLineColumns = 128 / size_of(kInput);
    const int begin = segment * segment_columns(), end = min(begin + segment_columns(), vocab_size());
    for (int at = begin + lane_of_thread() * kLineColumns; at < end; at += 32 * kLineColumns)
      prefetch_to_l2(address(at));
  }

  // Brings the columns to shared memory, where they are kept.
  STROBE_DEVICE void fetch() const {
    if (params_.keeps_row == 0) return;
    for_each_segment([&](int segment) {
      for (int i = 0; i < params_.segment_batches * kBatch; ++i) {
        const int at = column(segment, i);
        if (at >= params_.vocab_size) break;
        ColumnVector* to = kept_ + place(segment, i) + threadIdx.x;
        if constexpr (ColumnVector::kBytes >= 4)
          copy_async<ColumnVector::kBytes>(to, address(at));
        else
          load(*to, address(at));
      }
    });
    end_copy_group();
    wait_for_copies<0>();
  }

  // Calls f(first, values) for the lane's batches of a segment: values[i][j] is of column first + i *
  // kVectorStep + j. Columns behind the row have the value that weighs nothing and is below all others.
  template <bool kFromMemory = false, class F>
  STROBE_DEVICE void in_segment(int segment, F f) const {
    if (params_.keeps_row == 0) prefetch(segment + params_.segments_ahead * kWarpStride);
#pragma unroll 1
    for (int batch = 0; batch < params_.segment_batches; ++batch) {
      const int first = column(segment, batch * kBatch);
      ColumnVector vectors[kBatch];
#pragma unroll
      for (int i = 0; i < kBatch; ++i)
        if (first + i * kVectorStep < params_.vocab_size) {
          if constexpr (kFromMemory)
            load(vectors[i], address(first + i * kVectorStep));
          else
            get(segment, batch * kBatch + i, vectors[i]);
        }
      float values[kBatch][kVector];
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        unpack(vectors[i], values[i]);
#pragma unroll
        for (int j = 0; j < kVector; ++j)
          if (first + i * kVectorStep >= params_.vocab_size) values[i][j] = kLogits ? -infinity() : 0.0f;
      }
      f(first, values);
    }
  }
  // The same for all of the warp's segments.
  template <class F>
  STROBE_DEVICE void for_each(F f) const {
    for_each_segment([&](int segment) { in_segment(segment, f); });
  }

  // Calls f(values) for the vectors, one after the other.
  template <class F>
  STROBE_DEVICE void for_each_vector(F f) const {
    for_each_segment([&](int segment) {
#pragma unroll 1
      for (int i = 0; i < params_.segment_batches * kBatch && column(segment, i) < params_.vocab_size; ++i) {
        ColumnVector vector;
        float values[kVector];
        get(segment, i, vector);
        unpack(vector, values);
        f(values);
      }
    });
  }

  STROBE_DEVICE int segment_columns() const { return params_.segment_batches * kBatch * kVectorStep; }
  // One value, of global memory.
  STROBE_DEVICE float value(int column) const {
    Vector<kInput, 1> x;
    float value[1];
    load(x, address(column));
    unpack(x, value);
    return value[0];
  }
  STROBE_DEVICE const char* address(int column) const {
    return row_ + static_cast<int64_t>(column) * size_of(kInput);
  }

 private:
  static constexpr int kWarpStride = kCluster * kWarps;  // from a warp's segment to its next one

  static STROBE_DEVICE int first_segment() {
    return static_cast<int>(cluster_rank()) * kWarps + warp_of_thread();
  }
  STROBE_DEVICE int column(int segment, int i) const {
    return (segment * params_.segment_batches * kBatch + i) * kVectorStep + lane_of_thread() * kVector;
  }
  STROBE_DEVICE int place(int segment, int i) const {
    return (segment / kWarpStride * params_.segment_batches * kBatch + i) * kThreads;
  }
  STROBE_DEVICE void get(int segment, int i, ColumnVector& vector) const {
    if (params_.keeps_row != 0)
      vector = kept_[place(segment, i) + threadIdx.x];
    else
      load(vector, address(column(segment, i)));
  }

  const SamplingParams& params_;
  const char* row_;
  ColumnVector* kept_;
};

}  // namespace strobe::kernel
