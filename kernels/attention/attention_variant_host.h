// Attention with a user's hooks on the CPU; comes after the text and is compiled by the host's compiler.
//
// One call does one item for one KV head. It goes through the KV in tiles of kHostTokens: keys become
// columns, so that the scores of a row with all tokens of a tile are computed lane by lane; then hooks,
// softmax, and the sums of weighted values, both for kHostRows rows at a time.
//
// Scratch, in floats: keys as columns [head_dim_qk][kHostTokens], keys as rows [kHostTokens][head_dim_qk],
// values [kHostTokens][out_stride]; then of each row sums of values [out_stride], scores [kHostTokens], q
// [head_dim_qk], the maximum, and the sum of weights. All that is accessed by lanes lies at multiples of 64
// bytes.
#include "attention/host_rows.h"
#include "attention/host_words.h"
#include "attention/variant_hooks.h"
#include "attention/variant_params.h"

namespace strobe::kernel {

constexpr int kHostRows = 4, kHostLanes = 16;
typedef float Lanes __attribute__((vector_size(4 * kHostLanes)));
static_assert(kHostTokens == 2 * kHostLanes);

struct HostItem {
  const AttentionParams& params;
  const AttentionItem& item;
  Hooks hooks;
  int32_t kv_head, rows, dims, out_dims, out_stride;
  float *columns, *keys, *values, *out, *scores, *q, *maximum, *sum;

  HostItem(const VariantParams& variant, const AttentionItem& item, int32_t kv_head, float* scratch)
      : params(variant.attention),
        item(item),
        hooks(params, item, variant.arguments),
        kv_head(kv_head),
        rows(item.q_tokens * static_cast<int32_t>(params.group.value)),
        dims(params.head_dim_qk),
        out_dims(params.head_dim_vo),
        out_stride(host_out_stride(out_dims)),
        columns(scratch),
        keys(columns + kHostTokens * dims),
        values(keys + kHostTokens * dims),
        out(values + kHostTokens * out_stride),
        scores(out + rows * out_stride),
        q(scores + rows * kHostTokens),
        maximum(q + rows * dims),
        sum(maximum + rows) {}

  ItemRow row(int32_t number) const { return ItemRow(params, item, kv_head, number); }
  const char* kv_row(const char* cache, int64_t stride_head, int64_t stride_page, int64_t stride_token,
                     int32_t token) const {
    return cache + kv_head * stride_head + kv_offset(params, item, token, stride_page, stride_token);
  }
};

inline void load_queries(HostItem& it) {
  for (int32_t number = 0; number < it.rows; ++number) {
    const ItemRow row = it.row(number);
    float* q = it.q + number * it.dims;
    // The tile of keys is free yet.
    load_row(it.params.q + row.offset(it.item, it.params.q_stride_token, it.params.q_stride_head),
             static_cast<Dtype>(it.params.q_dtype), it.dims, it.keys);
    for (int32_t d = 0; d < it.dims; ++d) q[d] = it.hooks.query(it.keys, d, row, it.kv_head);
    for (int32_t d = 0; d < it.out_stride; ++d) it.out[number * it.out_stride + d] = 0;
    it.maximum[number] = minus_infinity();
    it.sum[number] = 0;
  }
}

inline void load_keys(HostItem& it, int32_t first, int32_t count) {
  for (int32_t t = 0; t < count; ++t) {
    float* key = it.keys + t * it.dims;
    load_row(it.kv_row(it.params.k, it.params.k_stride_head, it.params.k_stride_page,
                       it.params.k_stride_token, first + t),
             static_cast<Dtype>(it.params.kv_dtype), it.dims, key);
  }
  for (int32_t d = 0; d < it.dims; ++d)
    for (int32_t t = 0; t < kHostTokens; ++t)
      it.columns[d * kHostTokens + t] =
          t < count ? it.hooks.key(it.keys + t * it.dims, d, first + t, it.kv_head) : 0;
}

// Whether all values of the tile are finite; then a weight of 0 takes any of them out.
inline bool load_values(HostItem& it, int32_t first, int32_t count) {
  float zero = 0;
  for (int32_t t = 0; t < kHostTokens; ++t) {
    float* value = it.values + t * it.out_stride;
    for (int32_t d = t < count ? it.out_dims : 0; d < it.out_stride; ++d) value[d] = 0;
    if (t >= count) continue;
    load_row(it.kv_row(it.params.v, it.params.v_stride_head, it.params.v_stride_page,
                       it.params.v_stride_token, first + t),
             static_cast<Dtype>(it.params.kv_dtype), it.out_dims, value);
    for (int32_t d = 0; d < it.out_dims; ++d) zero = value[d] * 0.0f == 0.0f ? zero : 1.0f;
  }
  return zero == 0;
}

template <int kRows>
inline void multiply_q_k(const HostItem& it, int32_t number) {
  const float* q = it.q + number * it.dims;
  Lanes sums[kRows][2] = {};
  for (int32_t d = 0; d < it.dims; ++d) {
    const auto* column = reinterpret_cast<const Lanes*>(it.columns + d * kHostTokens);
    for (int r = 0; r < kRows; ++r)
      for (int half = 0; half < 2; ++half) sums[r][half] += q[r * it.dims + d] * column[half];
  }
  for (int r = 0; r < kRows; ++r)
    for (int half = 0; half < 2; ++half)
      reinterpret_cast<Lanes*>(it.scores + (number + r) * kHostTokens)[half] = sums[r][half];
}

// A row's products become logits, and with softmax weights.
inline void score_row(HostItem& it, int32_t number, int32_t first, int32_t count) {
  constexpr float kNone = Hooks::kSoftmax ? -__builtin_huge_valf() : 0.0f;
  const ItemRow row = it.row(number);
  const TokenRange range = attended(it.params, it.item, row.position);
  float* scores = it.scores + number * kHostTokens;
  const int32_t begin = max(range.begin - first, 0), end = min(range.end - first, count);
  for (int32_t t = 0; t < min(begin, kHostTokens); ++t) scores[t] = kNone;
  for (int32_t t = begin; t < end; ++t)
    scores[t] = mask_allows(it.params, it.item, row.token, first + t)
                    ? it.hooks.logit(row, it.kv_head, first + t, scores[t])
                    : kNone;
  for (int32_t t = max(end, 0); t < kHostTokens; ++t) scores[t] = kNone;
  if constexpr (!Hooks::kSoftmax) return;
  auto* halves = reinterpret_cast<Lanes*>(scores);
  const Lanes most = halves[0] > halves[1] ? halves[0] : halves[1];
  float highest = it.maximum[number];
  for (int lane = 0; lane < kHostLanes; ++lane) highest = most[lane] > highest ? most[lane] : highest;
  const float reference = highest == kNone ? 0.0f : highest;
  const float shrink = exp2_of(it.maximum[number] - reference);
  float sum = 0;
  for (int32_t t = 0; t < kHostTokens; ++t) scores[t] = exp2_of(scores[t] - reference);
  const Lanes sums = halves[0] + halves[1];
  for (int lane = 0; lane < kHostLanes; ++lane) sum += sums[lane];
  it.maximum[number] = highest;
  it.sum[number] = it.sum[number] * shrink + sum;
  if (shrink != 1)
    for (int32_t d = 0; d < it.out_stride; ++d) it.out[number * it.out_stride + d] *= shrink;
}

template <int kRows>
inline void multiply_p_v(const HostItem& it, int32_t number) {
  const float* weights = it.scores + number * kHostTokens;
  for (int32_t d = 0; d < it.out_stride; d += kHostLanes) {
    float* out = it.out + number * it.out_stride + d;
    Lanes sums[kRows];
    for (int r = 0; r < kRows; ++r) sums[r] = *reinterpret_cast<const Lanes*>(out + r * it.out_stride);
    for (int32_t t = 0; t < kHostTokens; ++t) {
      const Lanes value = *reinterpret_cast<const Lanes*>(it.values + t * it.out_stride + d);
      for (int r = 0; r < kRows; ++r) sums[r] += weights[r * kHostTokens + t] * value;
    }
    for (int r = 0; r < kRows; ++r) *reinterpret_cast<Lanes*>(out + r * it.out_stride) = sums[r];
  }
}

// Where values are not finite, those of weight 0 must stay out.
inline void multiply_carefully(const HostItem& it, int32_t number) {
  const float* weights = it.scores + number * kHostTokens;
  for (int32_t t = 0; t < kHostTokens; ++t)
    for (int32_t d = 0; weights[t] != 0 && d < it.out_dims; ++d)
      it.out[number * it.out_stride + d] += weights[t] * it.values[t * it.out_stride + d];
}

template <class OneRow, class ManyRows>
inline void for_rows(const HostItem& it, OneRow one, ManyRows many) {
  int32_t number = 0;
  for (; number + kHostRows <= it.rows; number += kHostRows) many(number);
  for (; number < it.rows; ++number) one(number);
}

inline void attend_tile(HostItem& it, int32_t first, int32_t count) {
  load_keys(it, first, count);
  for_rows(
      it, [&](int32_t n) { multiply_q_k<1>(it, n); }, [&](int32_t n) { multiply_q_k<kHostRows>(it, n); });
  for (int32_t number = 0; number < it.rows; ++number) score_row(it, number, first, count);
  if (load_values(it, first, count))
    for_rows(
        it, [&](int32_t n) { multiply_p_v<1>(it, n); }, [&](int32_t n) { multiply_p_v<kHostRows>(it, n); });
  else
    for (int32_t number = 0; number < it.rows; ++number) multiply_carefully(it, number);
}

inline void store_row(const AttentionParams& params, Hooks& hooks, int32_t kv_head, int32_t number,
                      const float* out, float maximum, float sum) {
  const ItemRow row(params, hooks.item, kv_head, number);
  const auto end = hooks.end(row, kv_head, maximum, sum);
  const auto dtype = static_cast<Dtype>(params.out_dtype);
  char* to = params.out + row.offset(hooks.item, params.out_stride_token, params.out_stride_head);
  for (int32_t d = 0; d < params.head_dim_vo; ++d)
    store(to + d * size_of(dtype), dtype, end.value(out[d], d));
  if (params.lse != nullptr)
    *reinterpret_cast<float*>(reinterpret_cast<char*>(params.lse) +
                              row.offset(hooks.item, params.lse_stride_token, params.lse_stride_head)) =
        end.lse;
}

// A part of a row: normalised over its KV, or without softmax as it is.
inline void store_part(const HostItem& it, int32_t number) {
  const int64_t partial = static_cast<int64_t>(it.item.slot + it.kv_head) * it.params.partial_rows + number;
  const float sum = it.sum[number], factor = !Hooks::kSoftmax ? 1.0f : sum == 0 ? 0.0f : 1.0f / sum;
  for (int32_t d = 0; d < it.out_dims; ++d)
    it.params.partial_out[partial * it.out_dims + d] = it.out[number * it.out_stride + d] * factor;
  it.params.partial_lse[partial] = sum == 0 ? minus_infinity() : it.maximum[number] + log2f(sum);
}

// The weighted sum of a row's parts; `out` has room for it.
inline void merge_row(const AttentionParams& params, const AttentionMerge& merge, Hooks& hooks,
                      int32_t kv_head, int32_t number, float* out) {
  const int64_t stride = static_cast<int64_t>(merge.slot_stride) * params.partial_rows;
  const int64_t first = (merge.first_slot + static_cast<int64_t>(kv_head)) * params.partial_rows + number;
  float highest = minus_infinity(), total = 0;
  for (int32_t part = 0; part < merge.parts; ++part)
    highest = fmaxf(highest, params.partial_lse[first + part * stride]);
  for (int32_t d = 0; d < params.head_dim_vo; ++d) out[d] = 0;
  for (int32_t part = 0; part < merge.parts; ++part) {
    const int64_t at = first + part * stride;
    if (Hooks::kSoftmax && params.partial_lse[at] == minus_infinity()) continue;
    const float weight = Hooks::kSoftmax ? exp2f(params.partial_lse[at] - highest) : 1.0f;
    total += weight;
    for (int32_t d = 0; d < params.head_dim_vo; ++d)
      out[d] += weight * params.partial_out[at * params.head_dim_vo + d];
  }
  store_row(params, hooks, kv_head, number, out, highest, total);
}

}  // namespace strobe::kernel

extern "C" void strobe_variant_attend(const strobe::kernel::VariantParams& variant, int index, int kv_head,
                                      float* scratch) {
  using namespace strobe::kernel;
  HostItem it(variant, variant.attention.items[index], kv_head, scratch);
  load_queries(it);
  for (int32_t first = it.item.kv_begin; first < it.item.kv_end; first += kHostTokens)
    attend_tile(it, first, min(kHostTokens, it.item.kv_end - first));
  for (int32_t number = 0; number < it.rows; ++number)
    if (it.item.slot >= 0)
      store_part(it, number);
    else
      store_row(it.params, it.hooks, kv_head, number, it.out + number * it.out_stride, it.maximum[number],
                it.sum[number]);
}

extern "C" void strobe_variant_merge(const strobe::kernel::VariantParams& variant, int index, int kv_head,
                                     float* scratch) {
  using namespace strobe::kernel;
  const AttentionParams& params = variant.attention;
  const AttentionMerge& merge = params.merges[index];
  Hooks hooks(params, params.items[merge.item], variant.arguments);
  const int32_t rows = merge.q_tokens * static_cast<int32_t>(params.group.value);
  for (int32_t number = 0; number < rows; ++number) merge_row(params, merge, hooks, kv_head, number, scratch);
}
