// What the text of an attention variant sees beside its own Params; include/strobe/attention_variant.h says
// what each is. The text is compiled by NVRTC and by the host's compiler.
#pragma once

#include "tile/ints.h"

#ifndef __CUDACC_RTC__
#include <math.h>
#include <stdio.h>  // printf, which a GPU has, too
// CUDA's words, which texts may use, mean nothing to the host's compiler.
#define __device__
#define __host__
#define __forceinline__ inline
#endif

namespace strobe::variant {

struct QueryIndex {
  int32_t batch_idx, qo_idx, qo_head_idx, kv_head_idx;
  int32_t qo_len, kv_len;

  STROBE_DEVICE int32_t position() const { return kv_len - qo_len + qo_idx; }
};

struct KeyIndex {
  int32_t batch_idx, kv_idx, kv_head_idx;
  int32_t qo_len, kv_len;
};

struct LogitIndex : QueryIndex {
  int32_t kv_idx;
};

// What Params has without being asked.
struct BaseParams {
  float sm_scale;  // q_scale and k_scale included
  float v_scale;
  int32_t num_qo_heads, num_kv_heads, head_dim_qk, head_dim_vo;
  int32_t window_left;     // of the plan; -1: off
  int32_t qo_len, kv_len;  // of the request at hand

  STROBE_DEVICE int32_t get_qo_len(int32_t) const { return qo_len; }
  STROBE_DEVICE int32_t get_kv_len(int32_t) const { return kv_len; }
};

// A scalar argument from its 8 bytes; narrow ones are in the lowest.
template <class T>
STROBE_DEVICE T scalar(uint64_t bits) {
  if constexpr (sizeof(T) == 8)
    return __builtin_bit_cast(T, bits);
  else
    return __builtin_bit_cast(T, static_cast<uint32_t>(bits));
}

}  // namespace strobe::variant

using strobe::variant::KeyIndex;
using strobe::variant::LogitIndex;
using strobe::variant::QueryIndex;
