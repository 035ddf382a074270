// From the warps' sums to an item's result: the parts meet in shared memory, in a fixed order.
#pragma once

#include "attention/decode_state.cuh"
#include "ptx/convert.h"

namespace strobe::kernel {

static_assert(kSlotBytes >= 8 * kDimVo * 4,
              "a warp's output for 8 rows takes the place of the tile it has just used");

struct WarpResults {
  float reference[kWarps][8];
  float sum[kWarps][8];
  const float* output[kWarps];  // [8][kDimVo]
};

// An element's place in a warp's [8][kDimVo] output: bits 3 and 4 of the element are flipped by the pair of
// rows, so that the four lanes c that store at once differ in bank.
STROBE_DEVICE int output_place(int row, int element) { return row * kDimVo + (element ^ (row / 2 % 4 * 8)); }

STROBE_DEVICE void sync_parts() {
  if constexpr (kParts == 1)
    __syncwarp();
  else
    __syncthreads();
}

// Leaves head tile t of this warp where the others find it: in `slot`, which it has just used up. A warp that
// had no tile has no slot either, and nothing but empty sums.
STROBE_DEVICE void publish(WarpResults& results, const RowState& state, int t, char* slot, bool worked) {
  const int lane = lane_of_warp(), warp = warp_of_block();
  const int g = lane / 4, c = lane % 4;
  float* output = reinterpret_cast<float*>(slot);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int row = c * 2 + i;
    const float sum = sum_over_tokens(state.sum[t][i]);
    if (g == 0) {
      results.reference[warp][row] = state.reference[t][i];
      results.sum[warp][row] = sum;
    }
    if (!worked) continue;
#pragma unroll
    for (int step = 0; step < kOutputSteps; ++step)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        output[output_place(row, output_element(step, g, half))] = state.o[t][step][i + 2 * half];
  }
  if (lane == 0) results.output[warp] = worked ? output : nullptr;
}

struct Elements {
  float x[4];
};

template <int kBytes>
STROBE_DEVICE bool is_aligned(const void* address) {
  return reinterpret_cast<uint64_t>(address) % kBytes == 0;
}

template <Dtype kDtype>
STROBE_DEVICE void store_elements(char* to, const Elements& o) {
  const uint32_t first = pair_of<kDtype>(o.x[0], o.x[1]), second = pair_of<kDtype>(o.x[2], o.x[3]);
  if (is_aligned<8>(to)) {
    store(to, Access<8>{{first, second}});
    return;
  }
  store(to, Access<2>{{first}});
  store(to + 2, Access<2>{{first >> 16}});
  store(to + 4, Access<2>{{second}});
  store(to + 6, Access<2>{{second >> 16}});
}

STROBE_DEVICE void store_floats(char* to, const Elements& o) {
  if (is_aligned<16>(to)) {
    store(to, Access<16>{{bits_of(o.x[0]), bits_of(o.x[1]), bits_of(o.x[2]), bits_of(o.x[3])}});
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) store(to + 4 * i, Access<4>{{bits_of(o.x[i])}});
}

// A row's weighted sum over all tokens, not yet normalised.
struct Row {
  Elements o;
  float reference, sum;
};

// The row's result for four elements: the sink takes part of the weight.
STROBE_DEVICE void store_result(const AttentionParams& p, int first_q_row, int token, int head, int element,
                                Row row) {
  if (p.sinks != nullptr) {
    const float sink = p.sinks[head] * kLog2E, reference = fmaxf(row.reference, sink);
    const float shrink = exp2_approx(row.reference - reference);
#pragma unroll
    for (float& x : row.o.x) x *= shrink;
    row.sum = row.sum * shrink + exp2_approx(sink - reference);
    row.reference = reference;
  }
  const float normalise = row.sum == 0 ? 0 : p.v_scale / row.sum;
#pragma unroll
  for (float& x : row.o.x) x *= normalise;
  const int64_t q_row = first_q_row + token;
  char* out = p.out + q_row * p.out_stride_token + head * p.out_stride_head;
  if (p.out_dtype == static_cast<int>(Dtype::kBf16))
    store_elements<Dtype::kBf16>(out + element * 2, row.o);
  else if (p.out_dtype == static_cast<int>(Dtype::kF16))
    store_elements<Dtype::kF16>(out + element * 2, row.o);
  else
    store_floats(out + element * 4, row.o);
  if (element == 0 && p.lse != nullptr) {
    const float lse = row.sum == 0 ? minus_infinity() : row.reference + log2_approx(row.sum);
    char* to = reinterpret_cast<char*>(p.lse) + q_row * p.lse_stride_token + head * p.lse_stride_head;
    *reinterpret_cast<float*>(to) = lse;
  }
}

STROBE_DEVICE void store_partial(const AttentionParams& p, const AttentionItem& item, int row_of_item,
                                 int element, Row row) {
  const float normalise = row.sum == 0 ? 0 : 1 / row.sum;
#pragma unroll
  for (float& x : row.o.x) x *= normalise;
  const int64_t place = static_cast<int64_t>(item.slot + warp_head()) * p.partial_rows + row_of_item;
  store_floats(reinterpret_cast<char*>(p.partial_out + place * kDimVo + element), row.o);
  if (element == 0)
    p.partial_lse[place] = row.sum == 0 ? minus_infinity() : row.reference + log2_approx(row.sum);
}

// Four elements of a row of this warp's KV head, from all parts.
STROBE_DEVICE Row joined_parts(const WarpResults& results, int row, int element) {
  Row joined = {{}, kNoReference, 0};
#pragma unroll
  for (int part = 0; part < kParts; ++part)
    joined.reference = fmaxf(joined.reference, results.reference[part * kHeads + warp_head()][row]);
#pragma unroll
  for (int part = 0; part < kParts; ++part) {
    const int warp = part * kHeads + warp_head();
    const float* output = results.output[warp];
    if (output == nullptr) continue;
    const float weight = exp2_approx(results.reference[warp][row] - joined.reference);
    const auto more = *reinterpret_cast<const float4*>(output + output_place(row, element));
    joined.sum += weight * results.sum[warp][row];
    joined.o.x[0] += weight * more.x;
    joined.o.x[1] += weight * more.y;
    joined.o.x[2] += weight * more.z;
    joined.o.x[3] += weight * more.w;
  }
  return joined;
}

// Joins head tile t of the parts; the warps of a KV head share the work.
STROBE_DEVICE void combine_parts(const AttentionParams& p, const WarpResults& results, int t,
                                 const AttentionItem& item) {
  constexpr int kQuads = kDimVo / 4;
#pragma unroll 1
  for (int i = warp_part() * kWarpThreads + lane_of_warp(); i < 8 * kQuads; i += kParts * kWarpThreads) {
    const int row = i / kQuads, element = i % kQuads * 4;
    const uint32_t row_of_item = t * 8 + row;
    const uint32_t token = quotient(row_of_item, p.group);
    if (static_cast<int>(token) >= item.q_tokens) break;
    const Row joined = joined_parts(results, row, element);
    const int head = (item.kv_head + warp_head()) * p.group.value + remainder(row_of_item, token, p.group);
    if (item.slot < 0)
      store_result(p, item.q_row, token, head, element, joined);
    else
      store_partial(p, item, row_of_item, element, joined);
  }
}

}  // namespace strobe::kernel
