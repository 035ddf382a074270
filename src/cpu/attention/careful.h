// Rows whose result is not finite, again by plain loops that touch only what the row attends to. The fast
// paths may multiply the values of masked tokens by 0, which NaN and infinities survive; here they never
// enter. What the row does attend to propagates as IEEE arithmetic has it.
#pragma once

#include "cpu/attention/finish.h"
#include "cpu/attention/kv_rows.h"
#include "cpu/attention/rope.h"

namespace strobe::cpu::STROBE_ISA {

STROBE_INLINE bool attends(const Item& it, int row, int kv) {
  const AttentionProblem& p = *it.problem;
  if (kv < it.scratch.lo[row] || kv >= it.scratch.hi[row]) return false;
  if (p.mask != AttentionMask::kCustom) return true;
  const int64_t bit = static_cast<int64_t>(it.token(row)) * it.kv_len + kv;
  return (p.custom_mask[p.custom_mask_indptr[it.item->request] + bit / 8] >> (bit % 8) & 1) != 0;
}

STROBE_INLINE void scale_row(float* values, int size, float factor) {
  for (int i = 0; i < size; ++i) values[i] *= factor;
}

// A query or key row as floats, rotated to its position.
template <class T>
static void plain_row(const Item& it, const T* row, int position, float* values) {
  widen_row(row, it.problem->head_dim_qk, values);
  if (it.problem->rope_inv_freq == nullptr) return;
  Rotation rotation;
  start_rotation(*it.problem, position, &rotation);
  rotate_row(*it.problem, rotation, values);
}

// The base-2 logit of a query row and a token.
template <class T>
static double plain_logit(const Item& it, int row, const float* q, int kv) {
  const AttentionProblem& p = *it.problem;
  float k[kMaxHeadDim + kLanes];
  plain_row(it, kv_row(it, k_side<T>(it), kv), kv, k);
  double dot = 0;
  for (int c = 0; c < p.head_dim_qk; ++c) dot += static_cast<double>(q[c]) * k[c];
  double logit = dot * p.sm_scale;
  if (p.alibi_slopes != nullptr)
    logit += static_cast<double>(p.alibi_slopes[it.head(row)]) * (kv - it.q_pos(row));
  if (p.logits_soft_cap > 0) logit = p.logits_soft_cap * __builtin_tanh(logit / p.logits_soft_cap);
  return logit * static_cast<double>(kLog2E);
}

template <class Q, class T>
static void redo_row(const Item& it, int row) {
  const AttentionProblem& p = *it.problem;
  const int64_t q_offset =
      (p.qo_indptr[it.item->request] + it.token(row)) * p.q_stride_token + it.head(row) * p.q_stride_head;
  float q[kMaxHeadDim + kLanes];
  plain_row(it, static_cast<const Q*>(p.q) + q_offset, it.q_pos(row), q);
  if constexpr (sizeof(Q) == 1) scale_row(q, p.head_dim_qk, query_scale(it, row));

  double m = -static_cast<double>(kInfinity);
  for (int kv = it.scratch.lo[row]; kv < it.scratch.hi[row]; ++kv) {
    if (!attends(it, row, kv)) continue;
    const double logit = plain_logit<T>(it, row, q, kv);
    if (logit > m) m = logit;
  }
  const double reference = m == -static_cast<double>(kInfinity) ? 0 : m;

  double l = 0, sum[kMaxHeadDim] = {};
  for (int kv = it.scratch.lo[row]; kv < it.scratch.hi[row]; ++kv) {
    if (!attends(it, row, kv)) continue;
    const double weight = __builtin_exp2(plain_logit<T>(it, row, q, kv) - reference);
    const T* v = kv_row(it, v_side<T>(it), kv);
    for (int c = 0; c < p.head_dim_vo; ++c) sum[c] += weight * static_cast<double>(load_one(v + c));
    l += weight;
  }
  float* o = it.scratch.o + row * it.o_stride;
  for (int c = 0; c < p.head_dim_vo; ++c) o[c] = static_cast<float>(sum[c]);
  finish_row(it, row, o, {static_cast<float>(m), static_cast<float>(l), static_cast<float>(l)});
}

}  // namespace strobe::cpu::STROBE_ISA
