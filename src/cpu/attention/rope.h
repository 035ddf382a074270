// RoPE on the fly: rows rotated by their position as they are read.
#pragma once

#include "cpu/attention/kv_rows.h"

namespace strobe::cpu::STROBE_ISA {

inline constexpr int kMaxHeadDim = 512;

// sin and cos of a double, |x| < 1e9, to about 1e-13 (plus the error of reducing x: 1e-16 |x|): Taylor series
// on
// [-pi/4, pi/4]. Without branches, so that loops over it become vector code.
STROBE_INLINE void sin_cos(double x, double* sine, double* cosine) {
  constexpr double kTwoOverPi = 0.63661977236758134308;
  constexpr double kHalfPiHigh = 1.57079632673412561417;  // 33 bits: times a quadrant number it is exact
  constexpr double kHalfPiLow = 6.07710050650619224932e-11;
  constexpr double kShift = 6755399441055744.0;  // 1.5 * 2^52: leaves the nearest integer in the low bits
  const double shifted = x * kTwoOverPi + kShift;
  const int64_t quadrant = __builtin_bit_cast(int64_t, shifted);
  const double n = shifted - kShift;
  const double r = (x - n * kHalfPiHigh) - n * kHalfPiLow;
  const double r2 = r * r;
  const double s =
      r +
      r * r2 *
          (-1.0 / 6 + r2 * (1.0 / 120 + r2 * (-1.0 / 5040 + r2 * (1.0 / 362880 + r2 * (-1.0 / 39916800)))));
  const double c =
      1 + r2 * (-1.0 / 2 +
                r2 * (1.0 / 24 + r2 * (-1.0 / 720 +
                                       r2 * (1.0 / 40320 + r2 * (-1.0 / 3628800 + r2 * (1.0 / 479001600))))));
  const bool swapped = (quadrant & 1) != 0;
  const double sine_size = swapped ? c : s, cosine_size = swapped ? s : c;
  *sine = (quadrant & 2) != 0 ? -sine_size : sine_size;
  *cosine = ((quadrant + 1) & 2) != 0 ? -cosine_size : cosine_size;
}

// The rotations of one position, and of the next ones by turning each pair further.
struct Rotation {
  double cosine[kMaxHeadDim / 2], sine[kMaxHeadDim / 2];
  double step_cosine[kMaxHeadDim / 2], step_sine[kMaxHeadDim / 2];
  int pairs;
};

static void start_rotation(const AttentionProblem& p, int position, Rotation* rotation) {
  rotation->pairs = p.rotary_dim / 2;
  for (int i = 0; i < rotation->pairs; ++i) {
    const double frequency = p.rope_inv_freq[i];
    sin_cos(position * frequency, &rotation->sine[i], &rotation->cosine[i]);
    sin_cos(frequency, &rotation->step_sine[i], &rotation->step_cosine[i]);
  }
}

static void advance_rotation(Rotation* rotation) {
  for (int i = 0; i < rotation->pairs; ++i) {
    const double c = rotation->cosine[i], s = rotation->sine[i];
    rotation->cosine[i] = c * rotation->step_cosine[i] - s * rotation->step_sine[i];
    rotation->sine[i] = s * rotation->step_cosine[i] + c * rotation->step_sine[i];
  }
}

// Rotates `row`, head_dim_qk floats, in place.
static void rotate_row(const AttentionProblem& p, const Rotation& rotation, float* row) {
  const int pairs = rotation.pairs;
  const int distance = p.rope_interleave ? 1 : pairs, step = p.rope_interleave ? 2 : 1;
  for (int i = 0; i < pairs; ++i) {
    float* x = row + i * step;
    const float c = static_cast<float>(rotation.cosine[i]), s = static_cast<float>(rotation.sine[i]);
    const float a = x[0], b = x[distance];
    x[0] = a * c - b * s;
    x[distance] = b * c + a * s;
  }
}

// `width` elements to f32, and from f32 to engine elements; whole vectors at once, so `values` has room for
// kLanes more.
template <class T>
STROBE_INLINE void widen_row(const T* row, int width, float* values) {
  for (int c = 0; c < width; c += kLanes) store(values + c, load_n(row + c, smaller(kLanes, width - c)));
}
template <class Engine>
STROBE_INLINE void narrow_row(const float* values, int width, typename Engine::Element* row) {
  for (int c = 0; c < width; c += kLanes) Engine::store_elements(row + c, load(values + c));
}

// K rows of `count` tokens from token `tile` on, `offset` elements behind where `k` points, rotated into
// scratch; `rotated` points to them as gather_rows does.
template <class Engine, class T>
static void rotate_k(const Item& it, const T* const* k, int64_t offset, int tile, int count,
                     const typename Engine::Element** rotated) {
  typedef typename Engine::Element Element;
  float values[kMaxHeadDim + kLanes];
  Rotation rotation;
  start_rotation(*it.problem, tile, &rotation);
  Element* to = static_cast<Element*>(it.scratch.rotated);
  for (int t = 0; t < count; ++t, to += it.q_stride * Engine::kPerWord) {
    widen_row(k[t] + offset, it.problem->head_dim_qk, values);
    rotate_row(*it.problem, rotation, values);
    narrow_row<Engine>(values, it.problem->head_dim_qk, to);
    advance_rotation(&rotation);
    rotated[t] = to;
  }
  for (int t = count; t < round_up(count, kLanes); ++t) rotated[t] = rotated[count - 1];
}

}  // namespace strobe::cpu::STROBE_ISA
