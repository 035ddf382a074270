#include "cpu/rope_kernel.h"

#include "cpu/rope_angle.h"
#include "cpu/simd_copy.h"

namespace strobe::cpu::STROBE_ISA {
namespace {

// Positions of consecutive tokens.
class Positions {
 public:
  Positions(const RopeTokens& tokens, int64_t begin) : tokens_(tokens) {
    if (tokens.position_ids != nullptr) return;
    int64_t after = tokens.batch_size;  // the last request that starts at or before `begin` is in [request_, after)
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

// The rotation of one token: a factor a pair, or, interleaved, a factor an element: (c, c) and (-s, s).
class Rotation {
 public:
  void set(const RopeTokens& tokens, int64_t position) {
    const int pairs = tokens.rotary_dim / 2;
    if (tokens.cos_sin_cache != nullptr) {
      cosine = tokens.cos_sin_cache + position * tokens.cos_sin_stride;
      sine = cosine + pairs;
    } else {
      rope_cos_sin(tokens.turns, pairs, position, pair_cosine_, pair_sine_);
      cosine = pair_cosine_;
      sine = pair_sine_;
    }
    if (tokens.interleave) spread(pairs);
  }
  const float* cosine;
  const float* sine;

 private:
  void spread(int pairs) {
    for (int i = 0; i < pairs; ++i) {
      element_cosine_[2 * i] = element_cosine_[2 * i + 1] = cosine[i];
      element_sine_[2 * i] = -sine[i];
      element_sine_[2 * i + 1] = sine[i];
    }
    cosine = element_cosine_;
    sine = element_sine_;
  }
  alignas(64) float pair_cosine_[kMaxRotaryPairs], pair_sine_[kMaxRotaryPairs];
  alignas(64) float element_cosine_[2 * kMaxRotaryPairs], element_sine_[2 * kMaxRotaryPairs];
};

template <bool kStream, class T>
STROBE_INLINE void put(T* p, F32 x) {
  if constexpr (kStream)
    stream(p, x);
  else
    store(p, x);
}

// Pairs (i, i + half).
template <class T, bool kStream>
STROBE_INLINE void rotate_halves(const T* x, T* out, const Rotation& rotation, int half) {
  int i = 0;
  for (; i + kLanes <= half; i += kLanes) {
    const F32 a = load(x + i), b = load(x + half + i), c = load(rotation.cosine + i), s = load(rotation.sine + i);
    put<kStream>(out + i, a * c - b * s);
    put<kStream>(out + half + i, b * c + a * s);
  }
  if (i < half) {
    const int left = half - i;
    const F32 a = load_n(x + i, left), b = load_n(x + half + i, left);
    const F32 c = load_n(rotation.cosine + i, left), s = load_n(rotation.sine + i, left);
    store_n(out + i, a * c - b * s, left);
    store_n(out + half + i, b * c + a * s, left);
  }
}

// Pairs (2i, 2i + 1).
template <class T, bool kStream>
STROBE_INLINE void rotate_pairs(const T* x, T* out, const Rotation& rotation, int rotary_dim) {
  int i = 0;
  for (; i + kLanes <= rotary_dim; i += kLanes) {
    const F32 v = load(x + i);
    put<kStream>(out + i, v * load(rotation.cosine + i) + swap_lanes<1>(v) * load(rotation.sine + i));
  }
  if (i < rotary_dim) {
    const int left = rotary_dim - i;
    const F32 v = load_n(x + i, left);
    const F32 y = v * load_n(rotation.cosine + i, left) + swap_lanes<1>(v) * load_n(rotation.sine + i, left);
    store_n(out + i, y, left);
  }
}

template <class T, bool kStream>
void rotate_heads(const RopeTokens& tokens, const RopeHeads& heads, const Rotation& rotation, int64_t token) {
  const T* x = static_cast<const T*>(heads.in) + token * heads.in_token_stride;
  T* out = static_cast<T*>(heads.out) + token * heads.out_token_stride;
  const int rotary_dim = tokens.rotary_dim;
  const int64_t rest_bytes = static_cast<int64_t>(sizeof(T)) * (tokens.head_dim - rotary_dim);
  for (int64_t head = 0; head < heads.heads; ++head, x += heads.in_head_stride, out += heads.out_head_stride) {
    if (tokens.interleave)
      rotate_pairs<T, kStream>(x, out, rotation, rotary_dim);
    else
      rotate_halves<T, kStream>(x, out, rotation, rotary_dim / 2);
    if (rest_bytes != 0 && x != out) copy_bytes<kStream>(out + rotary_dim, x + rotary_dim, rest_bytes);
  }
}

// Whether every vector that the rotation stores is aligned, as streaming needs.
template <class T>
bool can_stream(const RopeTokens& tokens, const RopeHeads& heads) {
  const int run = tokens.interleave ? tokens.rotary_dim : tokens.rotary_dim / 2;
  return heads.stream && reinterpret_cast<uintptr_t>(heads.out) % (sizeof(T) * kLanes) == 0 && run % kLanes == 0 &&
         heads.out_token_stride % kLanes == 0 && heads.out_head_stride % kLanes == 0;
}

template <class T>
void rotate_tokens(const RopeTokens& tokens, int64_t begin, int64_t end) {
  Positions positions(tokens, begin);
  Rotation rotation;
  const bool streams[] = {can_stream<T>(tokens, tokens.heads[0]), can_stream<T>(tokens, tokens.heads[1])};
  for (int64_t token = begin; token < end; ++token) {
    rotation.set(tokens, positions.at(token));
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
    case Dtype::kF32: return rotate_tokens<float>(tokens, begin, end);
    case Dtype::kF16: return rotate_tokens<f16_t>(tokens, begin, end);
    case Dtype::kBf16: return rotate_tokens<bf16_t>(tokens, begin, end);
    default: return;
  }
}

}  // namespace strobe::cpu::STROBE_ISA
