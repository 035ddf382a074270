// A row cut into segments of consecutive columns, and the vectors of them that a lane has.
//
// A segment is segment_batches * kBatch vectors of each lane of a warp: batch b of it has the vectors (b *
// kBatch + i) * 32 + lane. Segment s is worked on by warp s % (warps of the cluster), so that the warps share
// a row evenly whatever its length, and a sum over a segment is one over consecutive columns.
#pragma once

#include "ptx/cluster.h"
#include "sampling/sampling_params.h"
#include "sampling/weight.h"
#include "tile/vector.h"

namespace strobe::kernel {

constexpr bool kLogits = kSource == TokenSource::kLogits;
constexpr int kThreads = kSamplingThreads, kWarps = kThreads / 32;
constexpr int kBatch = (kVector == 1 ? 4 : kBatchValues) / kVector;  // vectors of a lane, loaded together
constexpr int kVectorStep = 32 * kVector;                            // from a lane's vector to its next one

using ColumnVector = Vector<kInput, kVector>;

// 0 of probabilities, -Inf of logits.
STROBE_DEVICE void set_lowest(ColumnVector& vector) {
  constexpr uint32_t kLowest = kInput == Dtype::kF32   ? 0xff800000u
                               : kInput == Dtype::kF16 ? 0xfc00fc00u
                                                       : 0xff80ff80u;
#pragma unroll
  for (uint32_t& word : vector.word) word = kLogits ? kLowest : 0;
}

STROBE_DEVICE int lane_of_thread() { return static_cast<int>(threadIdx.x % 32); }
STROBE_DEVICE int warp_of_thread() { return static_cast<int>(threadIdx.x / 32); }

class Columns {
 public:
  // `size` matters where rows have lengths of their own; the row's vectors go up to vocab_size.
  STROBE_DEVICE Columns(const RowCut& cut, const char* row, int size = 0)
      : cut_(cut), row_(row), size_(size) {}

  STROBE_DEVICE int size() const { return kRowLengths ? size_ : cut_.vocab_size; }
  // Calls f(segment) for the warp's segments.
  template <class F>
  STROBE_DEVICE void for_each_segment(F f) const {
#pragma unroll 1
    for (int segment = first_segment(); segment < cut_.segments; segment += kWarpStride) f(segment);
  }

  // Calls f(first, values) for the lane's batches of a segment: values[i][j] is of column first + i *
  // kVectorStep + j. Columns behind the row have the value that weighs nothing and is below all others.
  template <class F>
  STROBE_DEVICE void in_segment(int segment, F f) const {
#pragma unroll 1
    for (int batch = 0; batch < cut_.segment_batches; ++batch) {
      const int first = column(segment, batch * kBatch);
      ColumnVector vectors[kBatch];
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        if (first + i * kVectorStep >= size())
          set_lowest(vectors[i]);
        else
          load(vectors[i], address(first + i * kVectorStep));
      }
      float values[kBatch][kVector];
#pragma unroll
      for (int i = 0; i < kBatch; ++i) unpack(vectors[i], values[i]);
      f(first, values);
    }
  }
  // The same for all of the warp's segments.
  template <class F>
  STROBE_DEVICE void for_each(F f) const {
    for_each_segment([&](int segment) { in_segment(segment, f); });
  }

  // Calls f(values, others) for the lane's batches of a segment of this row and of `other`; columns behind
  // the rows have what weighs nothing.
  template <class F>
  STROBE_DEVICE void in_segment_with(const Columns& other, int segment, F f) const {
#pragma unroll 1
    for (int batch = 0; batch < cut_.segment_batches; ++batch) {
      const int first = column(segment, batch * kBatch);
      ColumnVector vectors[kBatch], others[kBatch];
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        if (first + i * kVectorStep >= size()) {
          set_lowest(vectors[i]);
          set_lowest(others[i]);
        } else {
          load(vectors[i], address(first + i * kVectorStep));
          load(others[i], other.address(first + i * kVectorStep));
        }
      }
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        float x[kVector], y[kVector];
        unpack(vectors[i], x);
        unpack(others[i], y);
        f(x, y);
      }
    }
  }
  // Calls f(values) for the vectors, one after the other.
  template <class F>
  STROBE_DEVICE void for_each_vector(F f) const {
    for_each_segment([&](int segment) {
#pragma unroll 1
      for (int i = 0; i < cut_.segment_batches * kBatch && column(segment, i) < size(); ++i) {
        ColumnVector vector;
        float values[kVector];
        load(vector, address(column(segment, i)));
        unpack(vector, values);
        f(values);
      }
    });
  }

  STROBE_DEVICE int segment_columns() const { return cut_.segment_batches * kBatch * kVectorStep; }
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
    return (segment * cut_.segment_batches * kBatch + i) * kVectorStep + lane_of_thread() * kVector;
  }

  const RowCut& cut_;
  const char* row_;
  int size_;
};

}  // namespace strobe::kernel
