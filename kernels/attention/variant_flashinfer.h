// Names under which variants written for FlashInfer's fa2 kernels find what they use: the base class, the
// macros that declare hooks, and math::. Interfaces only; what the hooks are given is Strobe's.
#pragma once

#include "attention/variant_types.h"

#ifdef __CUDACC_RTC__
using int8_t = signed char;
using uint8_t = unsigned char;
using int16_t = short;
using uint16_t = unsigned short;
#endif

namespace math {

constexpr float log2e = 1.44269504088896340736f;
constexpr float loge2 = 0.693147180559945309417f;
constexpr float inf = __builtin_bit_cast(float, 0x7f800000);

STROBE_DEVICE float ptx_exp2(float x) { return exp2f(x); }
STROBE_DEVICE float ptx_log2(float x) { return log2f(x); }
STROBE_DEVICE float ptx_rcp(float x) { return 1.0f / x; }
STROBE_DEVICE float rsqrt(float x) { return 1.0f / sqrtf(x); }
STROBE_DEVICE float tanh(float x) { return tanhf(x); }

}  // namespace math

struct AttentionVariantBase {
  static constexpr bool use_softmax = true;
};

// The library multiplies by v_scale itself, after the output transform.
template <class Params>
STROBE_DEVICE float get_v_scale(const Params&) {
  return 1.0f;
}

#define REGISTER_QUERY_TRANSFORM(params, q, ...)                                   \
  template <class Params, class T>                                                 \
  __device__ __forceinline__ T strobe_query_transform(const Params& params, T q) { \
    __VA_ARGS__                                                                    \
  }

#define REGISTER_KEY_TRANSFORM(params, k, ...)                                   \
  template <class Params, class T>                                               \
  __device__ __forceinline__ T strobe_key_transform(const Params& params, T k) { \
    __VA_ARGS__                                                                  \
  }

#define REGISTER_LOGITS_TRANSFORM(params, logits, batch_idx, qo_idx, kv_idx, qo_head_idx, kv_head_idx, ...) \
  template <class Params, class T>                                                                          \
  __device__ __forceinline__ T strobe_logits_transform(const Params& params, T logits, uint32_t batch_idx,  \
                                                       uint32_t qo_idx, uint32_t kv_idx,                    \
                                                       uint32_t qo_head_idx, uint32_t kv_head_idx) {        \
    __VA_ARGS__                                                                                             \
  }

#define REGISTER_LOGITS_MASK(params, batch_idx, qo_idx, kv_idx, qo_head_idx, kv_head_idx, ...)               \
  template <class Params>                                                                                    \
  __device__ __forceinline__ bool strobe_logits_mask(const Params& params, uint32_t batch_idx,               \
                                                     uint32_t qo_idx, uint32_t kv_idx, uint32_t qo_head_idx, \
                                                     uint32_t kv_head_idx) {                                 \
    __VA_ARGS__                                                                                              \
  }

#define REGISTER_M_D_UPDATE(params, kv_tile_idx, qo_head_idx, m, d, scale, ...)                             \
  template <class Params, class T_M>                                                                        \
  __device__ __forceinline__ void strobe_m_d_update(const Params& params, uint32_t kv_tile_idx,             \
                                                    uint32_t qo_head_idx, T_M& m, float& d, float& scale) { \
    __VA_ARGS__                                                                                             \
  }

#define REGISTER_OUTPUT_TRANSFORM(params, output, batch_idx, qo_idx, qo_head_idx, m, d, scale, ...)        \
  template <class Params, class T, class T_M>                                                              \
  __device__ __forceinline__ T strobe_output_transform(const Params& params, T output, uint32_t batch_idx, \
                                                       uint32_t qo_idx, uint32_t qo_head_idx, T_M& m,      \
                                                       float& d, float& scale) {                           \
    __VA_ARGS__                                                                                            \
  }
