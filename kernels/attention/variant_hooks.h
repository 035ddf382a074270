// The hooks of a variant's text as the kernels call them. Comes after the text, which defines
// AttentionVariantText and Params.
#pragma once

#include "attention/rows.h"
#include "attention/variant_flashinfer.h"

namespace strobe::kernel {

// Whether a struct has a member of a hook's name, whatever it is: then the name is ambiguous in a struct that
// inherits another one, too. A hook that is spelled wrong must not be passed over.
template <class T>
struct Twice {
  struct Names {
    int query, key, logits, mask, output;
  };
  struct Both : T, Names {};
};
template <class T>
concept NamesQuery = !requires {
  &Twice<T>::Both::query;
};
template <class T>
concept NamesKey = !requires {
  &Twice<T>::Both::key;
};
template <class T>
concept NamesLogits = !requires {
  &Twice<T>::Both::logits;
};
template <class T>
concept NamesMask = !requires {
  &Twice<T>::Both::mask;
};
template <class T>
concept NamesOutput = !requires {
  &Twice<T>::Both::output;
};

struct AnyRow {
  STROBE_DEVICE float operator[](int32_t) const { return 0; }
};
template <class T, class P>
concept QueryHook = requires(const P& p, const QueryIndex& at, const AnyRow& row, float x) {
  x = T::query(p, at, row, 0);
};
template <class T, class P>
concept KeyHook = requires(const P& p, const KeyIndex& at, const AnyRow& row, float x) {
  x = T::key(p, at, row, 0);
};
template <class T, class P>
concept LogitsHook = requires(const P& p, const LogitIndex& at, float x) {
  x = T::logits(p, at, x);
};
template <class T, class P>
concept MaskHook = requires(const P& p, const LogitIndex& at, bool x) {
  x = T::mask(p, at);
};
template <class T, class P>
concept OutputHook = requires(const P& p, const QueryIndex& at, float x) {
  x = T::output(p, at, x, 0);
};

template <class T>
inline constexpr bool kFlashInfer = __is_base_of(::AttentionVariantBase, T);

// Called on an object of the text's struct; the hooks of Strobe's spelling are static.
template <class T, class P>
concept FlashInferQuery = requires(T& t, const P& p) {
  t.template strobe_query_transform<P, float>(p, 0.0f);
};
template <class T, class P>
concept FlashInferKey = requires(T& t, const P& p) {
  t.template strobe_key_transform<P, float>(p, 0.0f);
};
template <class T, class P>
concept FlashInferLogits = requires(T& t, const P& p) {
  t.template strobe_logits_transform<P, float>(p, 0.0f, 0u, 0u, 0u, 0u, 0u);
};
template <class T, class P>
concept FlashInferMask = requires(T& t, const P& p) {
  t.template strobe_logits_mask<P>(p, 0u, 0u, 0u, 0u, 0u);
};
template <class T, class P>
concept FlashInferUpdate = requires(T& t, const P& p, float& x) {
  t.template strobe_m_d_update<P, float>(p, 0u, 0u, x, x, x);
};
template <class T, class P>
concept FlashInferOutput = requires(T& t, const P& p, float& x) {
  t.template strobe_output_transform<P, float, float>(p, 0.0f, 0u, 0u, 0u, x, x, x);
};

template <class T>
STROBE_DEVICE constexpr bool uses_softmax() {
  if constexpr (requires { T::use_softmax; })
    return T::use_softmax;
  else
    return true;
}

STROBE_DEVICE uint32_t without_sign(int32_t x) { return static_cast<uint32_t>(x); }

// A variant in Strobe's spelling. It and FlashInferText have one interface.
template <class T, class P>
struct StaticText {
  static_assert(
      !NamesQuery<T> || QueryHook<T, P>,
      "the hook query is: static float query(const Params&, const QueryIndex&, const auto& q, int dim)");
  static_assert(!NamesKey<T> || KeyHook<T, P>,
                "the hook key is: static float key(const Params&, const KeyIndex&, const auto& k, int dim)");
  static_assert(!NamesLogits<T> || LogitsHook<T, P>,
                "the hook logits is: static float logits(const Params&, const LogitIndex&, float logits)");
  static_assert(!NamesMask<T> || MaskHook<T, P>,
                "the hook mask is: static bool mask(const Params&, const LogitIndex&)");
  static_assert(
      !NamesOutput<T> || OutputHook<T, P>,
      "the hook output is: static float output(const Params&, const QueryIndex&, float output, int dim)");
  static_assert(NamesQuery<T> || NamesKey<T> || NamesLogits<T> || NamesMask<T> || NamesOutput<T>,
                "the struct has none of the hooks query, key, logits, mask and output");
  static constexpr bool kQuery = NamesQuery<T>, kKey = NamesKey<T>;
  // Whether a pair may be hidden: by the mask, or by a logit of -inf.
  static constexpr bool kMasks = NamesMask<T> || NamesLogits<T>;

  STROBE_DEVICE StaticText(const P&, int32_t) {}
  template <class Row>
  STROBE_DEVICE float query(const P& params, const QueryIndex& at, const Row& q, int32_t dim) const {
    return T::query(params, at, q, dim);
  }
  template <class Row>
  STROBE_DEVICE float key(const P& params, const KeyIndex& at, const Row& k, int32_t dim) const {
    return T::key(params, at, k, dim);
  }
  STROBE_DEVICE bool mask(const P& params, const LogitIndex& at) const {
    if constexpr (NamesMask<T>)
      return T::mask(params, at);
    else
      return true;
  }
  STROBE_DEVICE float logit(const P& params, const LogitIndex& at, float product, float scale) const {
    float x = product * scale;
    if constexpr (NamesLogits<T>) x = T::logits(params, at, x);
    return uses_softmax<T>() ? x * kLog2E : x;
  }
  STROBE_DEVICE void update(const P&, const QueryIndex&, float&, float&, float&) const {}
  // `x` relative to m and d; `factor` normalises it and multiplies by v_scale.
  STROBE_DEVICE float output(const P& params, const QueryIndex& at, float x, int32_t dim, float, float, float,
                             float factor, float) const {
    if constexpr (NamesOutput<T>)
      return T::output(params, at, x * factor, dim);
    else
      return x * factor;
  }
};

// A variant in FlashInfer's spelling: made for each request, given products that are not scaled, and
// normalising the output itself where it has a transform for it.
template <class T, class P>
struct FlashInferText {
  static constexpr bool kQuery = FlashInferQuery<T, P>, kKey = FlashInferKey<T, P>;
  static constexpr bool kMasks = FlashInferMask<T, P> || FlashInferLogits<T, P>;

  T text;

  STROBE_DEVICE FlashInferText(const P& params, int32_t batch_idx)
      : text(params, without_sign(batch_idx), static_cast<unsigned char*>(nullptr)) {}
  template <class Row>
  STROBE_DEVICE float query(const P& params, const QueryIndex&, const Row& q, int32_t dim) {
    return text.template strobe_query_transform<P, float>(params, q[dim]);
  }
  template <class Row>
  STROBE_DEVICE float key(const P& params, const KeyIndex&, const Row& k, int32_t dim) {
    return text.template strobe_key_transform<P, float>(params, k[dim]);
  }
  STROBE_DEVICE bool mask(const P& params, const LogitIndex& at) {
    if constexpr (FlashInferMask<T, P>)
      return text.template strobe_logits_mask<P>(params, without_sign(at.batch_idx), without_sign(at.qo_idx),
                                                 without_sign(at.kv_idx), without_sign(at.qo_head_idx),
                                                 without_sign(at.kv_head_idx));
    else
      return true;
  }
  STROBE_DEVICE float logit(const P& params, const LogitIndex& at, float product, float) {
    float x = product;
    if constexpr (FlashInferLogits<T, P>)
      x = text.template strobe_logits_transform<P, float>(
          params, x, without_sign(at.batch_idx), without_sign(at.qo_idx), without_sign(at.kv_idx),
          without_sign(at.qo_head_idx), without_sign(at.kv_head_idx));
    if constexpr (uses_softmax<T>()) x *= text.sm_scale_log2;
    return x;
  }
  STROBE_DEVICE void update(const P& params, const QueryIndex& at, float& m, float& d, float& scale) {
    if constexpr (FlashInferUpdate<T, P>)
      text.template strobe_m_d_update<P, float>(params, 0u, without_sign(at.qo_head_idx), m, d, scale);
  }
  STROBE_DEVICE float output(const P& params, const QueryIndex& at, float x, int32_t, float m, float d,
                             float scale, float factor, float v_scale) {
    if constexpr (FlashInferOutput<T, P>)
      return v_scale * text.template strobe_output_transform<P, float, float>(
                           params, x, without_sign(at.batch_idx), without_sign(at.qo_idx),
                           without_sign(at.qo_head_idx), m, d, scale);
    else
      return x * factor;
  }
};

template <class T, class P, bool kOfFlashInfer>
struct TextOf {
  using Type = StaticText<T, P>;
};
template <class T, class P>
struct TextOf<T, P, true> {
  using Type = FlashInferText<T, P>;
};

// A variant for one item.
template <class T, class P>
struct VariantHooks {
  using Text = typename TextOf<T, P, kFlashInfer<T>>::Type;
  static constexpr bool kOfUser = true, kSoftmax = uses_softmax<T>(), kMasks = Text::kMasks;
  static constexpr bool kQuery = Text::kQuery, kKey = Text::kKey;

  const AttentionItem& item;
  P params;
  Text text;

  STROBE_DEVICE VariantHooks(const AttentionParams& attention, const AttentionItem& item,
                             const uint64_t* arguments)
      : item(item),
        params({.sm_scale = attention.scale,
                .v_scale = attention.v_scale,
                .num_qo_heads = attention.num_kv_heads * static_cast<int32_t>(attention.group.value),
                .num_kv_heads = attention.num_kv_heads,
                .head_dim_qk = attention.head_dim_qk,
                .head_dim_vo = attention.head_dim_vo,
                .window_left = attention.window_left,
                .qo_len = item.kv_len - item.position + item.q_begin,
                .kv_len = item.kv_len},
               arguments),
        text(params, item.request) {}

  STROBE_DEVICE const variant::BaseParams& base() const { return params; }
  STROBE_DEVICE QueryIndex query_index(const ItemRow& row, int32_t kv_head) const {
    return {item.request, item.q_begin + row.token, row.head, kv_head, base().qo_len, item.kv_len};
  }

  // Element `dim` of a query or key row, from all of its elements.
  template <class Row>
  STROBE_DEVICE float query(const Row& q, int32_t dim, const ItemRow& row, int32_t kv_head) {
    if constexpr (kQuery)
      return text.query(params, query_index(row, kv_head), q, dim);
    else
      return q[dim];
  }
  template <class Row>
  STROBE_DEVICE float key(const Row& k, int32_t dim, int32_t token, int32_t kv_head) {
    if constexpr (kKey)
      return text.key(params, KeyIndex{item.request, token, kv_head, base().qo_len, item.kv_len}, k, dim);
    else
      return k[dim];
  }

  // What becomes of a product of query and key that the plan's mask lets through: a base-2 logit, or without
  // softmax the weight. -inf, or 0, where the variant's own mask does not let it through.
  STROBE_DEVICE float logit(const ItemRow& row, int32_t kv_head, int32_t token, float product) {
    const LogitIndex at{query_index(row, kv_head), token};
    if (!text.mask(params, at)) return kSoftmax ? minus_infinity() : 0.0f;
    return text.logit(params, at, product, base().sm_scale);
  }

  // How a whole row ends, from the maximum of its base-2 logits, the sum of 2^(logit - maximum), and sums of
  // weighted v relative to that maximum. A row without logits has no output to transform. A part of a row
  // that is to be merged is normalised over its KV, or without softmax left as it is.
  struct End {
    VariantHooks& hooks;
    QueryIndex at;
    bool whole;
    float m, d, scale, factor, lse;

    STROBE_DEVICE float value(float x, int32_t dim) const {
      if (kSoftmax && d == 0) return 0;
      if (!whole) return x * factor;
      return hooks.text.output(hooks.params, at, x, dim, m, d, scale, factor, hooks.base().v_scale);
    }
  };
  STROBE_DEVICE End end(const ItemRow& row, int32_t kv_head, float maximum, float sum, bool whole = true) {
    const float not_a_number = __int_as_float(0x7fffffff);
    const float v_scale = whole ? base().v_scale : 1.0f;
    End end{*this, query_index(row, kv_head), whole, maximum, sum, 1.0f, v_scale, not_a_number};
    if constexpr (kSoftmax) {
      if (whole) text.update(params, end.at, end.m, end.d, end.scale);
      end.factor = end.d == 0 ? 0.0f : v_scale * end.scale / end.d;
      end.lse = end.d == 0 ? minus_infinity() : end.m + log2f(end.d);
    }
    return end;
  }
};

using Hooks = VariantHooks<::AttentionVariantText, ::Params>;

}  // namespace strobe::kernel
