// The weights of a target's row that are left behind a refused draft, by segments.
#pragma once

#include "sampling/shared.cuh"

namespace strobe::kernel {

STROBE_DEVICE uint64_t weight_by_parts(float value) { return WeightParts(value).whole(); }

// What the target gives a token more than the draft does.
STROBE_DEVICE uint64_t weight_beyond(float target, float draft) {
  const uint64_t wanted = weight_by_parts(target), drafted = weight_by_parts(draft);
  return wanted > drafted ? wanted - drafted : 0;
}

class Residual {
 public:
  // `draft` may be null: nothing is taken away.
  STROBE_DEVICE Residual(const RowCut& cut, const char* target, const char* draft)
      : target_(cut, target), draft_(cut, draft != nullptr ? draft : target), drafted_(draft != nullptr) {}

  STROBE_DEVICE const Columns& columns() const { return target_; }
  STROBE_DEVICE uint64_t weight(int column) const { return weight_by_parts(target_.value(column)); }
  STROBE_DEVICE uint64_t weight_left(int column) const {
    return drafted_ ? weight_beyond(target_.value(column), draft_.value(column)) : weight(column);
  }

  // Of the first block, shared.segment gets what is left of each segment, shared.low and shared.high the
  // words of what it weighs in the target, shared.bad_of_warp whether either row is bad.
  STROBE_DEVICE void weigh(Shared& shared) const {
    bool any_bad = false;
    target_.for_each_segment([&](int segment) {
      uint64_t left = 0, all = 0;
      if (drafted_)
        target_.in_segment_with(draft_, segment, [&](const float(&x)[kVector], const float(&y)[kVector]) {
#pragma unroll
          for (int i = 0; i < kVector; ++i) {
            any_bad |= bad(x[i]) || bad(y[i]);
            left += weight_beyond(x[i], y[i]);
            all += weight_by_parts(x[i]);
          }
        });
      else
        target_.in_segment(segment, [&](int, const float(&x)[kBatch][kVector]) {
#pragma unroll
          for (int i = 0; i < kBatch; ++i)
#pragma unroll
            for (int j = 0; j < kVector; ++j) {
              any_bad |= bad(x[i][j]);
              left = all += weight_by_parts(x[i][j]);
            }
        });
      left = sum_of_lanes(left);
      all = sum_of_lanes(all);
      if (lane_of_thread() == 0) {
        tell_first(shared.segment[segment], left);
        tell_first(shared.low[segment], static_cast<uint32_t>(all));
        tell_first(shared.high[segment], static_cast<uint32_t>(all >> 32));
      }
    });
    any_bad = __any_sync(0xffffffff, any_bad);
    if (lane_of_thread() == 0)
      tell_first(shared.bad_of_warp[warp_of_cluster()], static_cast<uint32_t>(any_bad));
  }

  // Where nothing is left, the segments get what they weigh in the target. All threads of the first block.
  STROBE_DEVICE bool take_everything_for_nothing(const RowCut& cut, Shared& shared) const {
    uint64_t own = 0;
    for (int segment = static_cast<int>(threadIdx.x); segment < cut.segments; segment += kThreads)
      own += shared.segment[segment];
    if (sum_of_block(own, shared) != 0) return false;
    for (int segment = static_cast<int>(threadIdx.x); segment < cut.segments; segment += kThreads)
      shared.segment[segment] = shared.low[segment] | static_cast<uint64_t>(shared.high[segment]) << 32;
    __syncthreads();
    return true;
  }

 private:
  Columns target_, draft_;
  bool drafted_;
};

}  // namespace strobe::kernel
