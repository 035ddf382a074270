#include "reference/rope.h"

#include <cmath>
#include <complex>
#include <numbers>

#include "core/read.h"

namespace strobe::reference {
namespace {

double frequency(int pair, int rotary_dim, const RopeScaling& scaling) {
  const double f = std::pow(static_cast<double>(scaling.theta), -2.0 * pair / rotary_dim);
  const double divided = f / static_cast<double>(scaling.scale);
  if (!scaling.llama31) return divided;
  const double wavelength = 2 * std::numbers::pi / f;
  if (wavelength <
      static_cast<double>(scaling.old_context_len) / static_cast<double>(scaling.high_freq_factor))
    return f;
  if (wavelength >
      static_cast<double>(scaling.old_context_len) / static_cast<double>(scaling.low_freq_factor))
    return divided;
  const double smooth =
      (scaling.old_context_len / wavelength - static_cast<double>(scaling.low_freq_factor)) /
      static_cast<double>(scaling.high_freq_factor - scaling.low_freq_factor);
  return (1 - smooth) * divided + smooth * f;
}

// Every head of the sampled tokens of one output; turn(token, pair) is e^(i angle).
template <class Turn>
void rotate(const TensorView& x, int rotary_dim, bool interleave, op::ExpectedOutput& output, Turn turn) {
  const std::int64_t heads = x.shape[1], head_dim = x.shape[2];
  double* out = output.values.data();
  for (std::int64_t token : output.rows)
    for (std::int64_t head = 0; head < heads; ++head, out += head_dim) {
      for (std::int64_t j = rotary_dim; j < head_dim; ++j) out[j] = read(x, token, head, j);
      for (int pair = 0; pair < rotary_dim / 2; ++pair) {
        const int a = interleave ? 2 * pair : pair, b = interleave ? a + 1 : a + rotary_dim / 2;
        const std::complex<double> by = turn(token, pair);
        out[a] = read(x, token, head, a) * by.real() - read(x, token, head, b) * by.imag();
        out[b] = read(x, token, head, b) * by.real() + read(x, token, head, a) * by.imag();
      }
    }
}

template <class Args, class Position>
void rotate_by_position(const Args& args, op::Expected& expected, Position position) {
  const int rotary_dim = args.rotary_dim == 0 ? static_cast<int>(args.q.shape[2]) : args.rotary_dim;
  const auto turn = [&](std::int64_t token, int pair) {
    return std::polar(1.0, static_cast<double>(position(token)) * frequency(pair, rotary_dim, args.scaling));
  };
  rotate(args.q, rotary_dim, args.interleave, expected[0], turn);
  rotate(args.k, rotary_dim, args.interleave, expected[1], turn);
}

}  // namespace

void apply_rope(const RopeArgs& args, op::Expected& expected) {
  rotate_by_position(args, expected, [&](std::int64_t token) {
    std::int64_t request = 0;
    while (read(args.indptr, request + 1) <= static_cast<double>(token)) ++request;
    return read(args.offsets, request) + static_cast<double>(token) - read(args.indptr, request);
  });
}

void apply_rope_pos_ids(const RopePosIdsArgs& args, op::Expected& expected) {
  rotate_by_position(args, expected, [&](std::int64_t token) { return read(args.pos_ids, token); });
}

void apply_rope_with_cos_sin_cache(const RopeCosSinCacheArgs& args, op::Expected& expected) {
  const int rotary_dim = static_cast<int>(args.cos_sin_cache.shape[1]);
  const auto turn = [&](std::int64_t token, int pair) {
    const auto row = static_cast<std::int64_t>(read(args.positions, token));
    return std::complex<double>(read(args.cos_sin_cache, row, pair),
                                read(args.cos_sin_cache, row, pair + rotary_dim / 2));
  };
  rotate(args.q, rotary_dim, args.interleave, expected[0], turn);
  rotate(args.k, rotary_dim, args.interleave, expected[1], turn);
}

}  // namespace strobe::reference
