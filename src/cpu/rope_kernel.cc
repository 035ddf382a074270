#include "cpu/rope_kernel.h"

#include "cpu/rope_angle.h"
#include "cpu/simd_copy.h"
#include "cpu/simd_pairs.h"

namespace strobe::cpu::STROBE_ISA {
namespace {

// Positions of consecutive tokens.
class Positions {
 public:
  Positions(const RopeTokens& tokens, int64_t begin) : tokens_(tokens) {
    if (tokens.position_ids != nullptr) return;
    int64_t after =
        tokens.batch_size;  // the last request that starts at or before `begin` is in [request_, after)
    while (after - request_ > 1) {
      const int64_t middle = (request_ + after) / 2;
      (tokens.indptr[middle] <= begin ? request_ : after) = middle;
    }
  }
  int64_t at(int64_t token) {
    if (tokens_.position_ids != nullptr)
      return tokens_.wide_position_ids ? static_cast<const int64_t*>(tokens_.position_ids)[token]
                                       : static_cast<const int32_t*>(tokens_.position_ids)[token];
    while (token >= tokens_.indptr[request_ + 1]) ++request_;
    return static_cast<int64_t>(tokens_.offsets[request_]) + token - tokens_.indptr[request_];
  }

 private:
  const RopeTokens& tokens_;
  int64_t request_ = 0;
};

// Two vectors of consecutive elements in whichever order is cheapest: that of load_pairs for bf16, else as
// they lie in memory.
template <class T>
STROBE_INLINE void load_block(const T* p, F32 (&x)[2]) {
  x[0] = load(p);
  x[1] = load(p + kLanes);
}
STROBE_INLINE void load_block(const bf16_t* p, F32 (&x)[2]) { load_pairs(p, x[0], x[1]); }

template <bool kStream, class T>
STROBE_INLINE void put_block(T* p, const F32 (&x)[2]) {
  put<kStream>(p, x[0]);
  put<kStream>(p + kLanes, x[1]);
}
template <bool kStream>
STROBE_INLINE void put_block(bf16_t* p, const F32 (&x)[2]) {
  put_pairs<kStream>(p, x[0], x[1]);
}

// f32 factors in the order that load_block gives to elements of T.
template <class T>
STROBE_INLINE void order_as_block(const float* p, F32 (&x)[2]) {
  if constexpr (__is_same(T, bf16_t))
    load_pairs(p, x[0], x[1]);
  else
    load_block(p, x);
}

// The cosine and sine of each pair of one token, also in the order in which load_block brings the pairs of T.
template <class T>
class Rotation {
 public:
  void set(const RopeTokens& tokens, int64_t position) {
    const int pairs = tokens.rotary_dim / 2;
    if (tokens.cos_sin_cache != nullptr) {
      cosine = tokens.cos_sin_cache + position * tokens.cos_sin_stride;
      sine = cosine + pairs;
    } else {
      rope_cos_sin(tokens.turns, pairs, position, cosine_, sine_);
      cosine = cosine_;
      sine = sine_;
    }
    if (!tokens.interleave) arrange(pairs);
  }
  const float* cosine;
  const float* sine;
  alignas(64) float block_cosine[kMaxRotaryPairs], block_sine[kMaxRotaryPairs];

 private:
  void arrange(int pairs) {
    for (int i = 0; i + 2 * kLanes <= pairs; i += 2 * kLanes) {
      F32 c[2], s[2];
      order_as_block<T>(cosine + i, c);
      order_as_block<T>(sine + i, s);
      for (int v = 0; v < 2; ++v) {
        store(block_cosine + i + v * kLanes, c[v]);
        store(block_sine + i + v * kLanes, s[v]);
      }
    }
  }
  alignas(64) float cosine_[kMaxRotaryPairs], sine_[kMaxRotaryPairs];
};

// Pairs (i, i + half): a block is 2 * kLanes elements of each half.
template <class T, bool kStream>
STROBE_INLINE void rotate_halves(const T* x, T* out, const Rotation<T>& rotation, int half) {
  int i = 0;
  for (; i + 2 * kLanes <= half; i += 2 * kLanes) {
    F32 a[2], b[2], rotated_a[2], rotated_b[2];
    load_block(x + i, a);
    load_block(x + half + i, b);
    for (int v = 0; v < 2; ++v) {
      const F32 c = load(rotation.block_cosine + i + v * kLanes),
                s = load(rotation.block_sine + i + v * kLanes);
      rotated_a[v] = a[v] * c - b[v] * s;
      rotated_b[v] = b[v] * c + a[v] * s;
    }
    put_block<kStream>(out + i, rotated_a);
    put_block<kStream>(out + half + i, rotated_b);
  }
  for (; i < half; i += kLanes) {
    const int left = half - i < kLanes ? half - i : kLanes;
    const F32 a = load_n(x + i, left), b = load_n(x + half + i, left);
    const F32 c = load_n(rotation.cosine + i, left), s = load_n(rotation.sine + i, left);
    store_n(out + i, a * c - b * s, left);
    store_n(out + half + i, b * c + a * s, left);
  }
}

// Pairs (2i, 2i + 1).
template <class T, bool kStream>
STROBE_INLINE void rotate_neighbours(const T* x, T* out, const Rotation<T>& rotation, int pairs) {
  int i = 0;
  for (; i + kLanes <= pairs; i += kLanes) {
    F32 a, b;
    load_pairs(x + 2 * i, a, b);
    const F32 c = load(rotation.cosine + i), s = load(rotation.sine + i);
    put_pairs<kStream>(out + 2 * i, a * c - b * s, b * c + a * s);
  }
  for (; i < pairs; ++i) {
    const float a = load_one(x + 2 * i), b = load_one(x + 2 * i + 1), c = rotation.cosine[i],
                s = rotation.sine[i];
    store_one(out + 2 * i, a * c - b * s);
    store_one(out + 2 * i + 1, b * c + a * s);
  }
}

template <class T, bool kStream>
void rotate_heads(const RopeTokens& tokens, const RopeHeads& heads, const Rotation<T>& rotation,
                  int64_t token) {
  const T* x = static_cast<const T*>(heads.in) + token * heads.in_token_stride;
  T* out = static_cast<T*>(heads.out) + token * heads.out_token_stride;
  const int rotary_dim = tokens.rotary_dim;
  const int64_t head_bytes = static_cast<int64_t>(sizeof(T)) * tokens.head_dim;
  const int64_t ahead = rows_ahead(head_bytes) * heads.in_head_stride;
  const int64_t rest_bytes = head_bytes - static_cast<int64_t>(sizeof(T)) * rotary_dim;
  for (int64_t head = 0; head < heads.heads;
       ++head, x += heads.in_head_stride, out += heads.out_head_stride) {
    prefetch_bytes(x + ahead, head_bytes);
    if (tokens.interleave)
      rotate_neighbours<T, kStream>(x, out, rotation, rotary_dim / 2);
    else
      rotate_halves<T, kStream>(x, out, rotation, rotary_dim / 2);
    if (rest_bytes != 0 && x != out) copy_bytes<kStream>(out + rotary_dim, x + rotary_dim, rest_bytes);
  }
}

// Whether every block that the rotation stores is aligned, as streaming needs.
bool can_stream(const RopeTokens& tokens, const RopeHeads& heads) {
  constexpr int kBlock = 2 * kLanes;
  const int run = tokens.interleave ? tokens.rotary_dim : tokens.rotary_dim / 2;
  return heads.stream && reinterpret_cast<uintptr_t>(heads.out) % sizeof(F32) == 0 && run % kBlock == 0 &&
         heads.out_token_stride % kBlock == 0 && heads.out_head_stride % kBlock == 0;
}

template <class T>
void rotate_tokens(const RopeTokens& tokens, int64_t begin, int64_t end) {
  Positions positions(tokens, begin);
  Rotation<T> rotation;
  const bool streams[] = {can_stream(tokens, tokens.heads[0]), can_stream(tokens, tokens.heads[1])};
  for (int64_t token = begin; token < end; ++token) {
    rotation.set(tokens, positions.at(token));
    if (tokens.cos_sin_cache != nullptr && token + 1 < end)
      prefetch_bytes(tokens.cos_sin_cache + positions.at(token + 1) * tokens.cos_sin_stride,
                     4 * tokens.rotary_dim);
    for (int i = 0; i < 2; ++i)
      if (streams[i])
        rotate_heads<T, true>(tokens, tokens.heads[i], rotation, token);
      else
        rotate_heads<T, false>(tokens, tokens.heads[i], rotation, token);
  }
  if (streams[0] || streams[1]) stream_fence();
}

}  // namespace

void rope_tokens(const RopeTokens& tokens, int64_t begin, int64_t end) {
  switch (tokens.dtype) {
    case Dtype::kF32:
      return rotate_tokens<float>(tokens, begin, end);
    case Dtype::kF16:
      return rotate_tokens<f16_t>(tokens, begin, end);
    case Dtype::kBf16:
      return rotate_tokens<bf16_t>(tokens, begin, end);
    default:
      return;
  }
}

}  // namespace strobe::cpu::STROBE_ISA
