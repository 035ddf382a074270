// Which KV tokens the rows of an item attend to, and where the rows and the tokens lie.
#pragma once

#include "attention/attention_params.h"

namespace strobe::kernel {

inline constexpr float kLog2E = 1.44269504088896340736f;

STROBE_DEVICE float minus_infinity() { return __int_as_float(0xff800000); }

// A head's factor beside that of the whole tensor (AttentionParams).
STROBE_DEVICE float head_scale(const float* scales, int32_t head) {
  if (scales == nullptr) return 1;
  return scales[head] > 0 ? scales[head] : __int_as_float(0x7fffffff);
}

// KV tokens [begin, end).
struct TokenRange {
  int32_t begin, end;
};

// What position masks and the item leave to a query position.
STROBE_DEVICE TokenRange attended(const AttentionParams& params, const AttentionItem& item,
                                  int32_t position) {
  TokenRange range{item.kv_begin, item.kv_end};
  if (params.causal) range.end = min(range.end, position + 1);
  if (params.window_left >= 0) range.begin = max(range.begin, position - params.window_left);
  range.end = max(range.end, range.begin);
  return range;
}

// A row of an item: a query token and a head.
struct ItemRow {
  int32_t token, position, head;  // the token's number in the item

  STROBE_DEVICE ItemRow(int32_t token, int32_t position, int32_t head)
      : token(token), position(position), head(head) {}
  STROBE_DEVICE ItemRow(const AttentionParams& params, const AttentionItem& item, int32_t kv_head,
                        int32_t row) {
    token = static_cast<int32_t>(quotient(row, params.group));
    position = item.position + token;
    head = kv_head * static_cast<int32_t>(params.group.value) +
           static_cast<int32_t>(remainder(row, token, params.group));
  }
  STROBE_DEVICE int64_t offset(const AttentionItem& item, int64_t stride_token, int64_t stride_head) const {
    return (item.q_row + token) * stride_token + head * stride_head;
  }
};

// Bits 0 … n - 1 of a word.
STROBE_DEVICE uint32_t bits_below(int32_t n) { return n >= 32 ? 0xffffffffu : (1u << max(n, 0)) - 1; }

// The tokens of the range among the 32 from `first`: bit i is token first + i.
STROBE_DEVICE uint32_t bits_of_range(const TokenRange& range, int32_t first) {
  return bits_below(range.end - first) & ~bits_below(range.begin - first);
}

// Whether the custom mask, if there is one, lets the item's query token see the KV token.
STROBE_DEVICE bool mask_allows(const AttentionParams& params, const AttentionItem& item, int32_t token,
                               int32_t kv) {
  if (params.custom_mask == nullptr) return true;
  const int64_t bit = static_cast<int64_t>(item.q_begin + token) * item.kv_len + kv;
  return params.custom_mask[params.custom_mask_indptr[item.request] + (bit >> 3)] >> (bit & 7) & 1;
}

// Bytes from the cache's data to the row of a KV token.
STROBE_DEVICE int64_t kv_offset(const AttentionParams& params, const AttentionItem& item, int32_t token,
                                int64_t stride_page, int64_t stride_token) {
  if (params.page_size.value == 0) return (item.kv_base + static_cast<int64_t>(token)) * stride_token;
  const uint32_t page = quotient(token, params.page_size), slot = remainder(token, page, params.page_size);
  return params.kv_indices[item.kv_base + static_cast<int32_t>(page)] * stride_page + slot * stride_token;
}

// A row's results to where they belong: its part of the softmax to be normalised, in base 2, by
// weight_of_sum.
struct RowEnd {
  float factor;  // of the row's sums of weighted v
  float lse;

  // `maximum` of the base-2 logits and `sum` of 2^(logit - maximum); 0: nothing was attended to. A sink
  // joins only where the row is whole.
  STROBE_DEVICE RowEnd(const AttentionParams& params, float maximum, float sum, int32_t head, bool whole) {
    const float sink = whole && params.sinks != nullptr ? params.sinks[head] * kLog2E : minus_infinity();
    if (sum == 0) {
      factor = 0;
      lse = sink;
      return;
    }
    const float highest = fmaxf(maximum, sink);
    const float total =
        sum * exp2f(maximum - highest) + (sink == minus_infinity() ? 0 : exp2f(sink - highest));
    factor = exp2f(maximum - highest) / total * (whole ? params.v_scale : 1.0f);
    lse = highest + log2f(total);
  }
};

}  // namespace strobe::kernel
