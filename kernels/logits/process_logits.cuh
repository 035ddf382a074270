// Penalties and token masks of rows of logits. A thread has one vector of a row; the vectors are numbered
// through all rows.
//
// Constants: Dtype kType; int kVector.
#include "logits/logits_params.h"
#include "ptx/dependency.h"
#include "tile/vector.h"

namespace strobe::kernel {

constexpr int kThreads = 256;

enum class State { kNone, kThere, kBad };

// The words of the row's state from `word` on.
STROBE_DEVICE State find(const StateRows& state, uint32_t row, const int32_t*& words) {
  if (state.data == nullptr) return State::kNone;
  const int32_t index = state.indices != nullptr ? state.indices[row] : static_cast<int32_t>(row);
  if (index < 0) return State::kNone;
  if (index >= state.rows) return State::kBad;
  words = state.data + index * state.stride;
  return State::kThere;
}

// The bits of the vector that begins at `column`, in the lowest places.
STROBE_DEVICE uint32_t bits_at(const int32_t* words, uint32_t column) {
  return static_cast<uint32_t>(words[column / 32]) >> (column % 32);
}

STROBE_DEVICE float at_row(const PenaltyParameter& parameter, uint32_t row) {
  return parameter.rows != nullptr ? parameter.rows[row] : parameter.value;
}

STROBE_DEVICE float penalized(float x, int32_t count, bool seen, float repetition, float frequency,
                              float presence) {
  if (seen) x = x > 0 ? x / repetition : x * repetition;
  if (count > 0) x = fmaf(-frequency, static_cast<float>(count), x) - presence;
  return x;
}

// False when the row is bad.
STROBE_DEVICE bool penalize(const ProcessLogitsParams& params, uint32_t row, uint32_t column,
                            float (&x)[kVector]) {
  const int32_t *counts = nullptr, *prompt = nullptr;
  const State counted = find(params.counts, row, counts), prompted = find(params.prompt_mask, row, prompt);
  if (counted == State::kNone && prompted == State::kNone) return true;
  const float repetition = at_row(params.repetition, row), frequency = at_row(params.frequency, row),
              presence = at_row(params.presence, row);
  const bool good = repetition > 0 && frequency == frequency && presence == presence;
  if (!good || counted == State::kBad || prompted == State::kBad) return false;
  Vector<Dtype::kI32, kVector> count{};
  if (counts != nullptr) load(count, reinterpret_cast<const char*>(counts + column));
  const uint32_t in_prompt = prompt != nullptr ? bits_at(prompt, column) : 0;
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    const auto times = static_cast<int32_t>(count.word[i]);
    x[i] = penalized(x[i], times, times > 0 || (in_prompt >> i & 1) != 0, repetition, frequency, presence);
  }
  return true;
}

}  // namespace strobe::kernel

extern "C" __global__ void __launch_bounds__(strobe::kernel::kThreads)
    strobe_process_logits(const __grid_constant__ strobe::kernel::ProcessLogitsParams params) {
  using namespace strobe::kernel;
  const uint32_t vector = blockIdx.x * kThreads + threadIdx.x;
  wait_for_kernel_before();
  if (vector >= params.vectors) return;
  const uint32_t row = quotient(vector, params.row_vectors);
  const uint32_t column = remainder(vector, row, params.row_vectors) * kVector;
  Vector<kType, kVector> loaded;
  load(loaded, params.input + row * params.input_stride + static_cast<int64_t>(column) * size_of(kType));
  let_next_kernel_begin();
  float x[kVector];
  unpack(loaded, x);
  bool good = penalize(params, row, column, x);
  const int32_t* mask = nullptr;
  good &= find(params.bitmask, row, mask) != State::kBad;
  const uint32_t allowed = mask != nullptr ? bits_at(mask, column) : 0xffffffffu;
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    if ((allowed >> i & 1) == 0) x[i] = __uint_as_float(0xff800000u);
    if (!good) x[i] = __uint_as_float(0x7fc00000u);
  }
  store(params.out + row * params.out_stride + static_cast<int64_t>(column) * size_of(kType), pack<kType>(x));
}
