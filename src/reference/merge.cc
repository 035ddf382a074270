#include "reference/merge.h"

#include <cmath>
#include <limits>
#include <vector>

#include "core/read.h"

namespace strobe::reference {
namespace {

struct State {
  double s;
  std::vector<double> v;
};

State state_at(const TensorView& v, const TensorView& s) {
  State state{read_element(s.data, s.dtype, 0), {}};
  for (std::int64_t d = 0; d < v.shape[0]; ++d) state.v.push_back(read(v, d));
  return state;
}

State merge(const std::vector<State>& states, std::int64_t head_dim) {
  constexpr double kEmpty = -std::numeric_limits<double>::infinity();
  State merged{kEmpty, std::vector<double>(static_cast<std::size_t>(head_dim))};
  double maximum = kEmpty, total = 0;
  for (const State& state : states) maximum = std::fmax(maximum, state.s);
  for (const State& state : states) {
    if (state.s == kEmpty) continue;
    const double weight = std::exp2(state.s - maximum);
    total += weight;
    for (std::size_t d = 0; d < merged.v.size(); ++d) merged.v[d] += weight * state.v[d];
  }
  if (total == 0) return merged;
  for (double& value : merged.v) value /= total;
  merged.s = maximum + std::log2(total);
  return merged;
}

// Fills the sampled tokens of the outputs v [num_tokens, num_heads, head_dim] and s with states_at(token,
// head), merged.
template <class StatesAt>
void merge_tokens(const TensorView& v, op::Expected& expected, StatesAt states_at) {
  double* v_values = expected[0].values.data();
  double* s_values = expected[1].values.data();
  for (std::int64_t token : expected[0].rows)
    for (std::int64_t head = 0; head < v.shape[1]; ++head) {
      const State merged = merge(states_at(token, head), v.shape[2]);
      for (double value : merged.v) *v_values++ = value;
      *s_values++ = merged.s;
    }
}

State state_of(const TensorView& v, const TensorView& s, std::int64_t token, std::int64_t head) {
  return state_at(v.select(0, token).select(0, head), s.select(0, token).select(0, head));
}

}  // namespace

void merge_state(const MergeStateArgs& args, op::Expected& expected) {
  merge_tokens(args.v, expected, [&](std::int64_t token, std::int64_t head) {
    return std::vector{state_of(args.v_a, args.s_a, token, head), state_of(args.v_b, args.s_b, token, head)};
  });
}

void merge_state_in_place(const MergeStateInPlaceArgs& args, op::Expected& expected) {
  merge_tokens(args.v, expected, [&](std::int64_t token, std::int64_t head) {
    std::vector<State> states{state_of(args.v, args.s, token, head)};
    if (!args.mask.given() || read(args.mask, token) != 0)
      states.push_back(state_of(args.v_other, args.s_other, token, head));
    return states;
  });
}

void merge_states(const MergeStatesArgs& args, op::Expected& expected) {
  merge_tokens(args.v_merged, expected, [&](std::int64_t token, std::int64_t head) {
    std::vector<State> states;
    for (std::int64_t i = 0; i < args.v.shape[1]; ++i)
      states.push_back(state_of(args.v.select(1, i), args.s.select(1, i), token, head));
    return states;
  });
}

}  // namespace strobe::reference
