// Rotary position embedding of queries and keys.
//
// A block does whole tokens. Its threads first load their vectors, then compute the cosines and sines of all
// pairs of the block's tokens together into shared memory, then turn and store. A thread has one column of
// kItems heads, in each of which it holds two vectors of kVector elements:
//
//   turning column c:   low = [c * kVector, …), high = [rotary_dim / 2 + c * kVector, …)
//   other columns:      the same, counted from rotary_dim over the rest of the head, which is copied
//
// Not interleaved, low[i] and high[i] are pair c * kVector + i. Interleaved, neighbours in low and in high
// are pairs; vectors of one element are then 2 c and 2 c + 1 instead.
//
// 32k tokens of 32 + 8 heads of bf16 on an H200, where a copy of as many bytes takes 158.8 us: 161.4 with two
// heads a thread and six blocks on an SM; 162.3 with four and four.
//
// Constants: Dtype kType; bool kTable (cosines and sines from a table), kInterleave; int kVector, kItems,
// kPairs.
#include "ptx/dependency.h"
#include "rope/cos_sin.h"
#include "rope/rope_params.h"
#include "tile/vector.h"

namespace strobe::kernel {

constexpr int kThreads = 256;
// Of an SM. Two heads a thread want many threads: 40 registers for each, which ptxas has enough of up to
// sm_90.
#if __CUDA_ARCH__ < 1000
constexpr int kSmBlocks = kItems == 2 ? 6 : 4;
#else
constexpr int kSmBlocks = kItems == 2 ? 5 : 4;
#endif
using Params = RopeParams<kPairs>;

// A head's vectors of one thread.
struct Pair {
  Vector<kType, kVector> low, high;
};

// The elements of a thread's vectors: -1 where it has none.
struct Elements {
  int low, high;
};

STROBE_DEVICE Elements elements_of(const Params& params, int column) {
  const int half = params.rotary_dim / 2;
  if (column < params.rotary_columns) {
    if (kInterleave && kVector == 1) return {2 * column, 2 * column + 1};
    return {column * kVector, half + column * kVector};
  }
  const int rest_columns = static_cast<int>(params.columns.value) - params.rotary_columns;
  const int low = params.rotary_dim + (column - params.rotary_columns) * kVector;
  const int high = low + rest_columns * kVector;
  return {low, high < params.head_dim ? high : -1};
}

STROBE_DEVICE int64_t position_of(const Params& params, uint32_t token) {
  if constexpr (kPositions == RopePositions::kInt32)
    return static_cast<const int32_t*>(params.positions)[token];
  if constexpr (kPositions == RopePositions::kInt64)
    return static_cast<const int64_t*>(params.positions)[token];
  int low = 0, high = params.batch_size - 1;  // the last request that begins at or before the token
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (params.indptr[middle] <= static_cast<int32_t>(token))
      low = middle;
    else
      high = middle - 1;
  }
  return static_cast<int64_t>(params.offsets[low]) + token - params.indptr[low];
}

STROBE_DEVICE float2 cos_sin_of(const Params& params, uint32_t token, int pair) {
  const int64_t position = position_of(params, token);
  if constexpr (kTable) {
    // The host cannot check the positions: a token without angles becomes NaN.
    if (position < 0 || position >= params.max_position)
      return {__int_as_float(0x7fffffff), __int_as_float(0x7fffffff)};
    const float* row = params.cos_sin_cache + position * params.cos_sin_stride;
    return {row[pair], row[pair + static_cast<int>(params.pairs.value)]};
  }
  return cos_sin_of_turns(
      static_cast<uint32_t>((params.turns[pair] * static_cast<uint64_t>(position)) >> 32));
}

// The pairs that lie side by side in one vector. Their cosines and sines are kept apart in shared memory, and
// those of neighbouring threads together: pair p at (p % kRun) * runs + p / kRun, where runs = pairs / kRun.
constexpr int kRun = kInterleave && kVector > 1 ? kVector / 2 : kVector;

// Turns the vectors, two elements of each at a time; by[i * runs + r] is pair i of run r of the token.
STROBE_DEVICE void turn(const Params& params, int column, const float2* by, Pair& pair) {
  constexpr int kStep = kVector < 2 ? 1 : 2;
  const int runs = static_cast<int>(params.pairs.value) / kRun;
  const auto turn_by = [](const float2& cs, float& a, float& b) {
    const float x = a, y = b;
    a = x * cs.x - y * cs.y;
    b = y * cs.x + x * cs.y;
  };
#pragma unroll
  for (int at = 0; at < kVector; at += kStep) {
    float low[kStep], high[kStep];
    unpack(part_of<kStep>(pair.low, at), low);
    unpack(part_of<kStep>(pair.high, at), high);
    if constexpr (kRun == kVector) {
#pragma unroll
      for (int i = 0; i < kStep; ++i) turn_by(by[(at + i) * runs + column], low[i], high[i]);
    } else {  // neighbours
      turn_by(by[at / 2 * runs + column], low[0], low[1]);
      turn_by(by[at / 2 * runs + params.rotary_columns + column], high[0], high[1]);
    }
    set_part(pair.low, at, pack<kType>(low));
    set_part(pair.high, at, pack<kType>(high));
  }
}

// What one thread does of one token.
struct Slot {
  uint32_t token, of_block;  // the token's number, and that within the block
  int column, head;          // the first head
  Elements elements;
};

STROBE_DEVICE Slot slot_of(const Params& params, uint32_t first_token, uint32_t index) {
  Slot slot;
  slot.of_block = quotient(index, params.slots);
  const uint32_t rest = remainder(index, slot.of_block, params.slots);
  slot.token = first_token + slot.of_block;
  slot.head = static_cast<int>(quotient(rest, params.columns));
  slot.column = static_cast<int>(remainder(rest, slot.head, params.columns));
  slot.elements = elements_of(params, slot.column);
  return slot;
}

// Calls f(item, its head's elements before, and after) for the heads of a slot.
template <class F>
STROBE_DEVICE void for_each_head(const Params& params, const Slot& slot, F f) {
#pragma unroll
  for (int item = 0; item < kItems; ++item) {
    const int head = slot.head + item * params.head_groups;
    if (head >= params.num_heads) continue;
    const bool is_q = head < params.num_qo_heads;
    const RopeHeads& heads = is_q ? params.q : params.k;
    const int64_t number = is_q ? head : head - params.num_qo_heads;
    f(item, heads.in + slot.token * heads.in_token_stride + number * heads.in_head_stride,
      heads.out + slot.token * heads.out_token_stride + number * heads.out_head_stride);
  }
}

}  // namespace strobe::kernel

extern "C" __global__ void __launch_bounds__(strobe::kernel::kThreads, strobe::kernel::kSmBlocks)
    strobe_rope(const __grid_constant__ strobe::kernel::RopeParams<kPairs> params) {
  using namespace strobe::kernel;
  // Of the block's tokens in turn. A thread's column has at least one pair of each of its elements: no more
  // than kThreads slots of kVector pairs, or those of the one token that has more slots.
  __shared__ float2 by[kThreads * kVector < kPairs ? kPairs : kThreads * kVector];
  const uint32_t first_token = blockIdx.x * params.block_tokens;
  const uint32_t tokens = min(params.block_tokens, params.tokens - first_token);
  const uint32_t slots = tokens * params.slots.value, pairs = params.pairs.value;
  if (params.prefetches && threadIdx.x < slots) {
    const Slot slot = slot_of(params, first_token, threadIdx.x);
    for_each_head(params, slot, [&](int, const char* in, char*) {
      prefetch<kType, kVector>(in + slot.elements.low * size_of(kType));
      if (slot.elements.high >= 0) prefetch<kType, kVector>(in + slot.elements.high * size_of(kType));
    });
  }
  wait_for_kernel_before();
  bool turns_known = false;
  for (uint32_t first = 0; first < slots; first += kThreads) {
    const uint32_t index = first + threadIdx.x;
    const Slot slot = slot_of(params, first_token, index < slots ? index : slots - 1);
    Pair pair[kItems];
    if (index < slots)
      for_each_head(params, slot, [&](int item, const char* in, char*) {
        load(pair[item].low, in + slot.elements.low * size_of(kType));
        if (slot.elements.high >= 0) load(pair[item].high, in + slot.elements.high * size_of(kType));
      });
    if (!turns_known) {
      for (uint32_t i = threadIdx.x; i < tokens * pairs; i += kThreads) {
        const uint32_t token = quotient(i, params.pairs), pair = remainder(i, token, params.pairs);
        const uint32_t place = pair % kRun * (pairs / kRun) + pair / kRun;
        by[token * pairs + place] = cos_sin_of(params, first_token + token, pair);
      }
      __syncthreads();
      turns_known = true;
      let_next_kernel_begin();
    }
    if (index < slots)
      for_each_head(params, slot, [&](int item, const char*, char* out) {
        if (slot.column < params.rotary_columns)
          turn(params, slot.column, by + slot.of_block * pairs, pair[item]);
        store(out + slot.elements.low * size_of(kType), pair[item].low);
        if (slot.elements.high >= 0) store(out + slot.elements.high * size_of(kType), pair[item].high);
      });
  }
}
