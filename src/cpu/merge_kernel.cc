#include "cpu/merge_kernel.h"

#include "cpu/simd.h"

namespace strobe::cpu::STROBE_ISA {
namespace {

constexpr float kEmpty = -__builtin_inff();  // the s of a state that holds nothing

// The states of one row: count() of them, each with s(i) and v(i), its row of v.
template <class T>
struct PairOfStates {
  const T* v_[2];
  float s_[2];
  PairOfStates(const StateRows& a, const StateRows& b, int64_t row)
      : v_{static_cast<const T*>(a.v) + row * a.v_stride, static_cast<const T*>(b.v) + row * b.v_stride},
        s_{a.s[row * a.s_stride], b.s[row * b.s_stride]} {}
  int64_t count() const { return 2; }
  float s(int64_t i) const { return s_[i]; }
  const T* v(int64_t i) const { return v_[i]; }
};

template <class T>
struct ManyStates {
  const T* v_;
  const float* s_;
  int64_t v_stride, s_stride, count_;
  ManyStates(const MergeStatesRows& rows, int64_t row)
      : v_(static_cast<const T*>(rows.first.v) + row * rows.first.v_stride),
        s_(rows.first.s + row * rows.first.s_stride),
        v_stride(rows.state_v_stride), s_stride(rows.state_s_stride), count_(rows.num_states) {}
  int64_t count() const { return count_; }
  float s(int64_t i) const { return s_[i * s_stride]; }
  const T* v(int64_t i) const { return v_ + i * v_stride; }
};

// 2^(s - maximum) of the states from `first` on; 0 for empty ones and beyond the last.
template <class States>
STROBE_INLINE F32 weights(const States& states, int64_t first, float maximum) {
  float s[kLanes];
  for (int i = 0; i < kLanes; ++i) s[i] = first + i < states.count() ? states.s(first + i) : kEmpty;
  const F32 x = load(s);
  return select(x == kEmpty, F32{}, exp2(x - maximum));
}

// kVectors vectors of the merged v from `column` on; the last has `lanes` elements.
template <int kVectors, class T, class States>
STROBE_INLINE void merge_columns(const States& states, T* v, int64_t column, int lanes, float maximum, F32 normalise) {
  F32 sum[kVectors] = {};
  for (int64_t first = 0; first < states.count(); first += kLanes) {
    float weight[kLanes];
    store(weight, weights(states, first, maximum));
    for (int64_t i = first; i < first + kLanes && i < states.count(); ++i) {
      if (states.s(i) == kEmpty) continue;  // its v may be anything: even 0 times it could be NaN
      const F32 w = splat(weight[i - first]);
      const T* x = states.v(i) + column;
      for (int u = 0; u < kVectors - 1; ++u) sum[u] = fma(load(x + u * kLanes), w, sum[u]);
      const T* last = x + (kVectors - 1) * kLanes;
      sum[kVectors - 1] = fma(lanes == kLanes ? load(last) : load_n(last, lanes), w, sum[kVectors - 1]);
    }
  }
  for (int u = 0; u < kVectors - 1; ++u) store(v + column + u * kLanes, sum[u] * normalise);
  store_n(v + column + (kVectors - 1) * kLanes, sum[kVectors - 1] * normalise, lanes);
}

template <class T, class States>
STROBE_INLINE void merge_row(const States& states, T* v, float* s, int64_t head_dim) {
  float maximum = kEmpty;
  for (int64_t i = 0; i < states.count(); ++i) maximum = states.s(i) > maximum ? states.s(i) : maximum;
  float total = 0;  // NaN when some s is NaN or +Inf; 0 when all states are empty
  for (int64_t first = 0; first < states.count(); first += kLanes)
    total += reduce_add(weights(states, first, maximum));
  const F32 normalise = splat(total == 0 ? 0.0f : 1.0f / total);
  int64_t column = 0;
  for (; column + 8 * kLanes <= head_dim; column += 8 * kLanes)
    merge_columns<8>(states, v, column, kLanes, maximum, normalise);
  for (; column + 2 * kLanes <= head_dim; column += 2 * kLanes)
    merge_columns<2>(states, v, column, kLanes, maximum, normalise);
  for (; column < head_dim; column += kLanes)
    merge_columns<1>(states, v, column, head_dim - column < kLanes ? static_cast<int>(head_dim - column) : kLanes, maximum,
                     normalise);
  *s = total == 0 ? kEmpty : maximum + __builtin_log2f(total);
}

template <class T>
void merge_pair(const MergePairRows& rows, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    if (rows.mask[row * rows.mask_stride] == 0) continue;
    merge_row(PairOfStates<T>(rows.a, rows.b, row), static_cast<T*>(rows.v) + row * rows.v_stride,
              rows.s + row * rows.s_stride, rows.head_dim);
  }
}

template <class T>
void merge_many(const MergeStatesRows& rows, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row)
    merge_row(ManyStates<T>(rows, row), static_cast<T*>(rows.v) + row * rows.v_stride, rows.s + row * rows.s_stride,
              rows.head_dim);
}

}  // namespace

void merge_pair_rows(const MergePairRows& rows, int64_t begin, int64_t end) {
  switch (rows.dtype) {
    case Dtype::kF32: return merge_pair<float>(rows, begin, end);
    case Dtype::kF16: return merge_pair<f16_t>(rows, begin, end);
    case Dtype::kBf16: return merge_pair<bf16_t>(rows, begin, end);
    default: return;
  }
}

void merge_states_rows(const MergeStatesRows& rows, int64_t begin, int64_t end) {
  switch (rows.dtype) {
    case Dtype::kF32: return merge_many<float>(rows, begin, end);
    case Dtype::kF16: return merge_many<f16_t>(rows, begin, end);
    case Dtype::kBf16: return merge_many<bf16_t>(rows, begin, end);
    default: return;
  }
}

}  // namespace strobe::cpu::STROBE_ISA
