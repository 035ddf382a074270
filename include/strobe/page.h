// Paged KV caches: appending tokens, and the index arrays that go with it.
//
// Request r owns the pages kv_indices[kv_indptr[r]], …, kv_indices[kv_indptr[r + 1] - 1], all full but the
// last, which holds kv_last_page_len[r] tokens. Its token at position p is slot p % page_size of its page p /
// page_size.
//
// Index arrays are i32 and dense. On the CPU their values are checked before anything is written. On a GPU
// they are not, since the host does not wait for them: a token whose place is not in its request's pages, or
// not in the cache, is not written. Every function throws Error(kInvalidArgument) on shapes, dtypes, strides
// or index values other than stated.
#pragma once

#include "strobe/device.h"
#include "strobe/export.h"
#include "strobe/kv_layout.h"
#include "strobe/tensor.h"

namespace strobe::inline v1 {

// Writes token t of append_key and append_value to position positions[t] of request batch_indices[t]. The
// cache has the tokens' dtype, and their bits are copied (NaN included), or is e4m3 or e5m2, and then
//   k_cache = round(append_key * (1 / k_scale))      v_cache = round(append_value * (1 / v_scale))
// in f32, rounded to nearest even; finite values beyond the format saturate, NaN stays NaN, Inf becomes ±448
// in e4m3 and stays in e5m2.
//
// A batch index or position of -1 marks padding: the token is skipped. No two tokens may name the same slot.
// Nothing else of the cache is read or written. kv_indptr, kv_indices and kv_last_page_len describe the
// requests after the append; pages that no token goes to may have any number.
struct AppendPagedKvCacheArgs {
  TensorView append_key;     // [nnz, num_kv_heads, head_dim], f32, f16, bf16, e4m3, e5m2
  TensorView append_value;   // [nnz, num_kv_heads, head_dim_vo], dtype of append_key
  TensorView batch_indices;  // [nnz], request of each token
  TensorView positions;      // [nnz], within the request's pages
  TensorView k_cache;  // NHD: [num_pages, page_size, num_kv_heads, head_dim], HND: [num_pages, num_kv_heads,
                       // page_size, head_dim]
  TensorView v_cache;  // like k_cache, with head_dim_vo; both may be parts of one [num_pages, 2, …] tensor
  TensorView kv_indices;        // [num_kv_indices], pages in [0, num_pages)
  TensorView kv_indptr;         // [batch_size + 1], not decreasing, in [0, num_kv_indices]
  TensorView kv_last_page_len;  // [batch_size], 1 … page_size (0: only without pages)
  KvLayout kv_layout = KvLayout::kNhd;
  float k_scale = 1;  // of an e4m3 or e5m2 cache of other tokens; else 1
  float v_scale = 1;
};
STROBE_API void append_paged_kv_cache(const AppendPagedKvCacheArgs& args, const Launch& launch = {});

// The same for the two caches of multi-head latent attention (DeepSeek-V2, 2024): the compressed KV, and the
// key part that carries RoPE.
struct AppendPagedMlaKvCacheArgs {
  TensorView append_ckv;        // [nnz, ckv_dim], f32, f16, bf16, e4m3, e5m2
  TensorView append_kpe;        // [nnz, kpe_dim], dtype of append_ckv
  TensorView batch_indices;     // [nnz]
  TensorView positions;         // [nnz]
  TensorView ckv_cache;         // [num_pages, page_size, ckv_dim]
  TensorView kpe_cache;         // [num_pages, page_size, kpe_dim], dtype of ckv_cache
  TensorView kv_indices;        // [num_kv_indices]
  TensorView kv_indptr;         // [batch_size + 1]
  TensorView kv_last_page_len;  // [batch_size]
  float ckv_scale = 1;
  float kpe_scale = 1;
};
STROBE_API void append_paged_mla_kv_cache(const AppendPagedMlaKvCacheArgs& args, const Launch& launch = {});

// Request and position of each appended token: request r appends the tokens [append_indptr[r],
// append_indptr[r + 1]), the last ones of the seq_lens[r] that it has then. Tokens from
// append_indptr[batch_size] on are padding: -1 in both outputs.
struct BatchIndicesPositionsArgs {
  TensorView append_indptr;  // i32 [batch_size + 1], from 0 to at most nnz, not decreasing
  TensorView seq_lens;       // i32 [batch_size], at least what the request appends
  TensorView batch_indices;  // i32 [nnz]
  TensorView positions;      // i32 [nnz]
};
STROBE_API void get_batch_indices_positions(const BatchIndicesPositionsArgs& args, const Launch& launch = {});

// Tokens of each request: seq_lens[r] = max(pages - 1, 0) * page_size + kv_last_page_len[r].
struct SeqLensArgs {
  TensorView kv_indptr;         // i32 [batch_size + 1], not decreasing
  TensorView kv_last_page_len;  // i32 [batch_size], 1 … page_size (0: only without pages)
  TensorView seq_lens;          // i32 [batch_size]
  int page_size = 16;
};
STROBE_API void get_seq_lens(const SeqLensArgs& args, const Launch& launch = {});

}  // namespace strobe::inline v1
