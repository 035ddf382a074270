#include "cpu/merge_kernel.h"

#include "cpu/simd_row.h"

namespace strobe::cpu::STROBE_ISA {
namespace {

constexpr float kEmpty = -__builtin_inff();  // the s of a state that holds nothing

// 2^(s - maximum); an empty state weighs nothing.
STROBE_INLINE F32 weight_of(F32 s, F32 maximum) { return select(s == kEmpty, F32{}, exp2(s - maximum)); }

// The s of the merged state, and what its sum of weighted v is multiplied with. `total` is 0 when all states
// are empty, and NaN when the s of one is NaN or +Inf.
STROBE_INLINE F32 merged_s(F32 maximum, F32 total) {
  return select(total > 0.0f, maximum + log2(total), select(total == 0.0f, splat(kEmpty), total));
}
STROBE_INLINE F32 normaliser(F32 total) { return select(total == 0.0f, F32{}, 1.0f / total); }

// --- Two states: the weights of kLanes rows at a time.

// Normalised weights, and the merged s.
struct PairWeights {
  float s_a[kLanes], s_b[kLanes];
  float a[kLanes], b[kLanes], s[kLanes];
};

void weigh_pairs(const MergePairRows& rows, int64_t first, int count, PairWeights& weights) {
  for (int i = 0; i < kLanes; ++i) {
    weights.s_a[i] = i < count ? rows.a.s[(first + i) * rows.a.s_stride] : kEmpty;
    weights.s_b[i] = i < count ? rows.b.s[(first + i) * rows.b.s_stride] : kEmpty;
  }
  const F32 s_a = load(weights.s_a), s_b = load(weights.s_b);
  const F32 maximum = max(s_a, s_b);
  const F32 a = weight_of(s_a, maximum), b = weight_of(s_b, maximum);
  const F32 total = a + b;
  store(weights.a, a * normaliser(total));
  store(weights.b, b * normaliser(total));
  store(weights.s, merged_s(maximum, total));
}

// v = a v_a + b v_b; v may be v_a or v_b.
template <class T>
void blend(const T* v_a, float a, const T* v_b, float b, T* v, int64_t head_dim) {
  for_each_vectors<T>(
      head_dim, [=](auto access, int64_t i) __attribute__((always_inline)) {
        F32 x[access.kVectors], y[access.kVectors];
        access.load(v_a + i, x);
        access.load(v_b + i, y);
        for (int u = 0; u < access.kVectors; ++u) x[u] = fma(x[u], splat(a), y[u] * b);
        access.template store<false>(v + i, x);
      });
}

// v = weight x, where the other state is empty; 0 without an x. The weight is 1, or NaN.
template <class T>
void take(const T* x, float weight, T* v, int64_t head_dim) {
  if (x == v && weight == 1.0f) return;
  for_each_vectors<T>(
      head_dim, [=](auto access, int64_t i) __attribute__((always_inline)) {
        F32 y[access.kVectors] = {};
        if (x != nullptr) access.load(x + i, y);
        for (F32& element : y) element *= weight;
        access.template store<false>(v + i, y);
      });
}

template <class T>
void merge_pair(const MergePairRows& rows, int64_t begin, int64_t end) {
  PairWeights weights;
  for (int64_t row = begin; row < end; ++row) {
    const int lane = static_cast<int>((row - begin) % kLanes);
    if (lane == 0) weigh_pairs(rows, row, part_of_vector(end - row).lanes, weights);
    if (rows.mask[row * rows.mask_stride] == 0) continue;
    const T* v_a = static_cast<const T*>(rows.a.v) + row * rows.a.v_stride;
    const T* v_b = static_cast<const T*>(rows.b.v) + row * rows.b.v_stride;
    T* v = static_cast<T*>(rows.v) + row * rows.v_stride;
    // The v of an empty state may be anything: even 0 times it could be NaN.
    if (weights.s_a[lane] == kEmpty)
      take(weights.s_b[lane] == kEmpty ? nullptr : v_b, weights.b[lane], v, rows.head_dim);
    else if (weights.s_b[lane] == kEmpty)
      take(v_a, weights.a[lane], v, rows.head_dim);
    else
      blend(v_a, weights.a[lane], v_b, weights.b[lane], v, rows.head_dim);
    rows.s[row * rows.s_stride] = weights.s[lane];
  }
}

// --- Any number of states: the weights of kLanes states of a row at a time.

template <class T>
struct StatesOfRow {
  const T* first_v;
  const float* first_s;
  int64_t v_stride, s_stride, count;
  StatesOfRow(const MergeStatesRows& rows, int64_t row)
      : first_v(static_cast<const T*>(rows.first.v) + row * rows.first.v_stride),
        first_s(rows.first.s + row * rows.first.s_stride),
        v_stride(rows.state_v_stride),
        s_stride(rows.state_s_stride),
        count(rows.num_states) {}
  float s(int64_t i) const { return first_s[i * s_stride]; }
  const T* v(int64_t i) const { return first_v + i * v_stride; }
};

// Of the states from `first` on; 0 beyond the last.
template <class T>
STROBE_INLINE F32 weigh_states(const StatesOfRow<T>& states, int64_t first, float maximum) {
  float s[kLanes];
  store(s, splat(kEmpty));
  const int count = part_of_vector(states.count - first).lanes;
  for (int i = 0; i < count; ++i) s[i] = states.s(first + i);
  return weight_of(load(s), splat(maximum));
}

// What is known of the merged row: the largest s, the weights of the first states (mostly all), 1 / the sum
// of all weights.
struct MergedRow {
  float maximum;
  float first_weights[kLanes];
  float normalise;
};

// kSteps steps of `access` of the merged v, from `column` on.
template <int kSteps, class T, class Out, class Access>
STROBE_INLINE void merge_columns(const StatesOfRow<T>& states, const MergedRow& merged, Out* v,
                                 int64_t column, Access access) {
  constexpr int kVectors = Access::kVectors, kStep = kVectors * kLanes;
  F32 sum[kSteps][kVectors] = {};
  for (int64_t first = 0; first < states.count; first += kLanes) {
    float later_weights[kLanes];
    const float* weights = merged.first_weights;
    if (first > 0) {
      store(later_weights, weigh_states(states, first, merged.maximum));
      weights = later_weights;
    }
    for (int64_t i = first; i < first + kLanes && i < states.count; ++i) {
      if (states.s(i) == kEmpty) continue;  // its v may be anything: even 0 times it could be NaN
      for (int step = 0; step < kSteps; ++step) {
        F32 x[kVectors];
        access.load(states.v(i) + column + step * kStep, x);
        for (int u = 0; u < kVectors; ++u) sum[step][u] = fma(x[u], splat(weights[i - first]), sum[step][u]);
      }
    }
  }
  for (int step = 0; step < kSteps; ++step) {
    for (F32& x : sum[step]) x *= merged.normalise;
    access.template store<false>(v + column + step * kStep, sum[step]);
  }
}

template <class T, class Out>
void merge_row(const StatesOfRow<T>& states, Out* v, float* s, int64_t head_dim) {
  MergedRow merged;
  merged.maximum = kEmpty;
  for (int64_t i = 0; i < states.count; ++i)
    merged.maximum = states.s(i) > merged.maximum ? states.s(i) : merged.maximum;
  F32 weights = weigh_states(states, 0, merged.maximum);
  store(merged.first_weights, weights);
  for (int64_t first = kLanes; first < states.count; first += kLanes)
    weights += weigh_states(states, first, merged.maximum);
  const F32 total = splat(reduce_add(weights));
  merged.normalise = normaliser(total)[0];
  *s = merged_s(splat(merged.maximum), total)[0];
  constexpr int kStep = 2 * kLanes;
  int64_t column = 0;
  for (; column + 4 * kStep <= head_dim; column += 4 * kStep)
    merge_columns<4>(states, merged, v, column, FullVectors<T>{});
  for (; column + kStep <= head_dim; column += kStep)
    merge_columns<1>(states, merged, v, column, FullVectors<T>{});
  for (; column < head_dim; column += kLanes)
    merge_columns<1>(states, merged, v, column, part_of_vector(head_dim - column));
}

template <class T, class Out>
void merge_many(const MergeStatesRows& rows, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row)
    merge_row(StatesOfRow<T>(rows, row), static_cast<Out*>(rows.v) + row * rows.v_stride,
              rows.s + row * rows.s_stride, rows.head_dim);
}

void merge_f32_states(const MergeStatesRows& rows, int64_t begin, int64_t end) {
  switch (rows.out_dtype) {
    case Dtype::kF32:
      return merge_many<float, float>(rows, begin, end);
    case Dtype::kF16:
      return merge_many<float, f16_t>(rows, begin, end);
    case Dtype::kBf16:
      return merge_many<float, bf16_t>(rows, begin, end);
    default:
      return;
  }
}

}  // namespace

void merge_pair_rows(const MergePairRows& rows, int64_t begin, int64_t end) {
  switch (rows.dtype) {
    case Dtype::kF32:
      return merge_pair<float>(rows, begin, end);
    case Dtype::kF16:
      return merge_pair<f16_t>(rows, begin, end);
    case Dtype::kBf16:
      return merge_pair<bf16_t>(rows, begin, end);
    default:
      return;
  }
}

void merge_states_rows(const MergeStatesRows& rows, int64_t begin, int64_t end) {
  switch (rows.dtype) {
    case Dtype::kF32:
      return merge_f32_states(rows, begin, end);
    case Dtype::kF16:
      return merge_many<f16_t, f16_t>(rows, begin, end);
    case Dtype::kBf16:
      return merge_many<bf16_t, bf16_t>(rows, begin, end);
    default:
      return;
  }
}

}  // namespace strobe::cpu::STROBE_ISA
