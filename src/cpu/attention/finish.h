// From a row's running state to what is written: normalisation, sink, log-sum-exp, partial results and their
// merge.
#pragma once

#include "cpu/attention/item.h"

namespace strobe::cpu::STROBE_ISA {

// What a row's sum of values is multiplied by, and its log-sum-exp (base 2).
struct Normalisation {
  float factor, lse;
};

// A row's running state: the maximum of its base-2 logits, the sum of 2^(logit - m), and the same of the
// probabilities as they were multiplied with V.
struct RowState {
  float m, l, stored_sum;
};

// `sink` (natural log) is null or one more logit.
STROBE_INLINE Normalisation normalise(RowState row, const float* sink) {
  float m = row.m, l = row.l, divisor = row.stored_sum, factor = 1;
  if (sink != nullptr) {
    const float sink2 = *sink * kLog2E;
    const float top = sink2 > m ? sink2 : m;
    if (top == -kInfinity) return {0, -kInfinity};
    factor = __builtin_exp2f(m - top);
    const float sink_weight = __builtin_exp2f(sink2 - top);
    l = l * factor + sink_weight;
    divisor = divisor * factor + sink_weight;
    m = top;
  }
  if (l == 0) return {0, -kInfinity};
  return {factor / divisor, m + __builtin_log2f(l)};
}

STROBE_INLINE const float* sink_of(const Item& it, int row) {
  return it.problem->sinks == nullptr ? nullptr : it.problem->sinks + it.head(row);
}

// to[c] = o[c] * factor for c < width. Returns whether all products were finite.
template <class T>
STROBE_INLINE bool write_scaled(T* to, const float* o, float factor, int width) {
  I32 bad = {};
  for (int c = 0; c < width; c += kLanes) {
    const int n = smaller(kLanes, width - c);
    const F32 x = load_n(o + c, n) * factor;
    bad |= x - x != 0.0f;
    if (n == kLanes)
      store(to + c, x);
    else
      store_n(to + c, x, n);
  }
  return !any(bad);
}

// Brings the lines that a row's output will be written to.
STROBE_INLINE void prefetch_output(const Item& it, int row) {
  const AttentionProblem& p = *it.problem;
  const int64_t token = p.qo_indptr[it.item->request] + it.token(row);
  const int bytes = p.out_dtype == Dtype::kF32 ? 4 : 2;
  char* out =
      static_cast<char*>(p.out) + (token * p.out_stride_token + it.head(row) * p.out_stride_head) * bytes;
  for (int byte = 0; byte < p.head_dim_vo * bytes; byte += 64) prefetch_to_write(out + byte);
}

// Writes a row's output and log-sum-exp where the run wants them. Returns whether everything was finite (or
// -inf, of a row that attends to nothing).
STROBE_INLINE bool write_row(const Item& it, int row, const float* o, Normalisation norm) {
  const AttentionProblem& p = *it.problem;
  const int64_t token = p.qo_indptr[it.item->request] + it.token(row);
  const int head = it.head(row), width = p.head_dim_vo;
  if (p.lse != nullptr) p.lse[token * p.lse_stride_token + head * p.lse_stride_head] = norm.lse;
  const int64_t offset = token * p.out_stride_token + head * p.out_stride_head;
  bool finite = false;
  switch (p.out_dtype) {
    case Dtype::kF32:
      finite = write_scaled(static_cast<float*>(p.out) + offset, o, norm.factor, width);
      break;
    case Dtype::kF16:
      finite = write_scaled(static_cast<f16_t*>(p.out) + offset, o, norm.factor, width);
      break;
    default:
      finite = write_scaled(static_cast<bf16_t*>(p.out) + offset, o, norm.factor, width);
      break;
  }
  return finite && norm.lse < kInfinity;
}

STROBE_INLINE int64_t partial_row(const Item& it, int slot, int row) {
  return (static_cast<int64_t>(slot) * it.problem->num_kv_heads + it.kv_head) * it.problem->partial_rows +
         row;
}

STROBE_INLINE bool write_partial(const Item& it, int row, const float* o, Normalisation norm) {
  const int64_t index = partial_row(it, it.item->slot, row);
  it.problem->partial_lse[index] = norm.lse;
  const int width = it.problem->head_dim_vo;
  return write_scaled(it.problem->partial_out + index * width, o, norm.factor, width) && norm.lse < kInfinity;
}

// Normalises and writes one row from its state. The sink belongs to a row's whole KV range: not to a partial
// result.
STROBE_INLINE bool finish_row(const Item& it, int row, const float* o, RowState state) {
  const bool partial = it.item->slot >= 0;
  Normalisation norm = normalise(state, partial ? nullptr : sink_of(it, row));
  norm.factor *= it.problem->v_scale;
  if (norm.factor != 0) norm.factor *= head_scale(it.problem->v_scales, it.kv_head);
  return partial ? write_partial(it, row, o, norm) : write_row(it, row, o, norm);
}

// One row from its partial results, weighted by 2^lse, in the order of the parts.
static void merge_row(const Item& it, const AttentionItem* parts, int count, int row) {
  const AttentionProblem& p = *it.problem;
  const int width = p.head_dim_vo;
  float top = -kInfinity;
  for (int i = 0; i < count; ++i) {
    const float lse = p.partial_lse[partial_row(it, parts[i].slot, row)];
    if (lse > top) top = lse;
  }
  const float reference = top == -kInfinity ? 0 : top;
  float sum = 0;
  float* o = it.scratch.o;
  for (int c = 0; c < width; c += kLanes) store(o + c, F32{});
  for (int i = 0; i < count; ++i) {
    const int64_t index = partial_row(it, parts[i].slot, row);
    const float weight = __builtin_exp2f(p.partial_lse[index] - reference);
    const float* part = p.partial_out + index * width;
    for (int c = 0; c < width; c += kLanes)
      store(o + c, fma(load_n(part + c, smaller(kLanes, width - c)), splat(weight), load(o + c)));
    sum += weight;
  }
  write_row(it, row, o, normalise({top, sum, sum}, sink_of(it, row)));
}

}  // namespace strobe::cpu::STROBE_ISA
