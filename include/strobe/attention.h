// Attention over dense, ragged and paged KV: decode, prefill, append and mixed batches are one description.
//
// For query token i of a request (qo_len query tokens, kv_len KV tokens), at position p = kv_len - qo_len +
// i, and query head h, which reads KV head h / (num_qo_heads / num_kv_heads):
//
//   x[j]   = q[i, h] . k[j] * sm_scale * q_scale * k_scale           RoPE, if on, turns q[i, h] to position p
//   and k[j] to position j first x[j]  += slope[h] * (j - p)                                       ALiBi x[j]
//   = logits_soft_cap * tanh(x[j] / logits_soft_cap)           soft cap A      = the j < kv_len that mask and
//   window let through out    = v_scale * sum_{j in A} exp(x[j]) v[j] / (sum_{j in A} exp(x[j]) +
//   exp(sink[h]))        (no sink: no such term) lse    = log2(sum_{j in A} exp(x[j]) + exp(sink[h])) base 2,
//   f32
//
// An empty A gives out = 0 and lse = -inf (with a sink: out = 0, lse = sink * log2 e).
//
// Sums are kept in f32. Where the machine multiplies matrices of Q's dtype (tensor cores, bf16 dot products),
// probabilities are rounded to that dtype before they meet V.
//
// Q in e4m3 goes with K and V in e4m3, and out in f32, f16 or bf16. Such tensors may have scales by head
// (q_scales, k_scales, v_scales) beside those of the whole: the first two multiply x of their heads, the last
// one out; of one that is not positive comes NaN. Hopper's tensor cores take e4m3 as it is (backend
// cuda/sm90); elsewhere e4m3 queries are computed in f32, which is slow on a GPU.
//
// NaN and Inf: those in q and in the k and v rows of A propagate as IEEE arithmetic; k and v rows outside A
// never matter, whatever they hold. Memory beyond kv_len (the unused end of a last page) is never read.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "strobe/attention_variant.h"
#include "strobe/device.h"
#include "strobe/export.h"
#include "strobe/kv_layout.h"
#include "strobe/rope.h"
#include "strobe/tensor.h"

namespace strobe::inline v1 {

enum class MaskMode : std::uint8_t {
  kNone,    // every KV token
  kCausal,  // right-aligned: j <= p
  kCustom,  // a bit for each pair (i, j)
};

enum class PosEncoding : std::uint8_t {
  kNone,
  kRope,   // rotates q and k on the fly; the cache holds unrotated keys
  kAlibi,  // slopes of Press et al., 2021, unless `alibi_slopes` gives others
};

struct AttentionOptions {
  MaskMode mask = MaskMode::kNone;
  int window_left = -1;       // sliding window, on top of any mask: j >= p - window_left; -1 off
  float logits_soft_cap = 0;  // 0 off
  float sm_scale = 0;         // 0: 1 / sqrt(head_dim_qk)
  float q_scale = 1;          // factors of quantised q, k and v
  float k_scale = 1;
  float v_scale = 1;
  PosEncoding pos_encoding = PosEncoding::kNone;
  RopeScaling rope;
  bool rope_interleave = false;
  // The bits of a request's result depend on the request alone: not on its neighbours in the batch, the
  // number of threads or the order of execution. Without it a long request may be split differently in
  // another company. (Results never depend on the order of execution.)
  bool deterministic = false;

  friend bool operator==(const AttentionOptions&, const AttentionOptions&) = default;
};

// The slopes of Press, Smith and Lewis, "Train Short, Test Long", 2021, for any number of heads: with n the
// largest power of two up to num_heads, head h < n gets 2^(-8 (h + 1) / n), the others 2^(-4 (2 (h - n) + 1)
// / n).
STROBE_API std::vector<float> alibi_slopes(int num_heads);

// One request, dense KV. head_dim_qk and head_dim_vo are multiples of 8 up to 512.
struct SinglePrefillArgs {
  TensorView q;  // [qo_len, num_qo_heads, head_dim_qk]; f32, f16, bf16, e4m3
  TensorView k;  // NHD: [kv_len, num_kv_heads, head_dim_qk]; HND: [num_kv_heads, kv_len, head_dim_qk]; dtype
                 // of q, e4m3 or e5m2
  TensorView v;  // like k, with head_dim_vo
  TensorView q_scales;  // f32 [num_qo_heads]; optional, with q in e4m3
  TensorView k_scales;  // f32 [num_kv_heads]; optional, with q in e4m3
  TensorView v_scales;  // f32 [num_kv_heads]; optional, with q in e4m3
  TensorView
      custom_mask;  // u8 [mask_bytes]: bit i * kv_len + j, little endian, 1 = attend; with MaskMode::kCustom
  TensorView alibi_slopes;  // f32 [num_qo_heads]; optional
  TensorView sinks;         // f32 [num_qo_heads]; optional
  TensorView out;           // [qo_len, num_qo_heads, head_dim_vo]; f32, f16, bf16
  TensorView lse;           // f32 [qo_len, num_qo_heads]; optional
  KvLayout kv_layout = KvLayout::kNhd;
  AttentionOptions options;
};
STROBE_API void single_prefill(const SinglePrefillArgs& args, const Launch& launch = {});

// One query token: q [num_qo_heads, head_dim_qk], out [num_qo_heads, head_dim_vo], lse [num_qo_heads]; the
// rest as above. Its position is kv_len - 1. `options.mask` is kNone or kCausal, which are the same here.
struct SingleDecodeArgs {
  TensorView q;
  TensorView k;
  TensorView v;
  TensorView alibi_slopes;
  TensorView sinks;
  TensorView out;
  TensorView lse;
  KvLayout kv_layout = KvLayout::kNhd;
  AttentionOptions options;
};
STROBE_API void single_decode(const SingleDecodeArgs& args, const Launch& launch = {});

// What the plans of one BatchAttention may bring at the most, for runs that a CUDA graph records once and
// replays after other plans. All 0: nothing is declared.
struct AttentionCapacity {
  int max_batch_size = 0;
  int max_query_tokens = 0;        // of all requests
  int max_qo_len = 0;              // of one request; 0: max_query_tokens
  std::int64_t max_kv_tokens = 0;  // of all requests; paged: in whole pages

  bool declared() const { return max_batch_size > 0; }
  friend bool operator==(const AttentionCapacity&, const AttentionCapacity&) = default;
};

// What `BatchAttention::plan` needs to know: who attends to which KV rows, and the shapes that `run` will
// bring. Index arrays are i32 in host memory; plan copies them.
struct AttentionPlanArgs {
  TensorView qo_indptr;   // [batch_size + 1]: request r has the query rows [qo_indptr[r], qo_indptr[r + 1])
  TensorView kv_indptr;   // [batch_size + 1]: paged: its range of kv_indices; ragged: its range of KV rows
  TensorView kv_indices;  // [num_page_indices]: page numbers; paged only
  TensorView last_page_len;  // [batch_size]: tokens in the last page, 1 … page_size (0 for a request without
                             // pages); paged only
  TensorView kv_len;  // [batch_size]: tokens of each request, instead of last_page_len; paged only
  TensorView
      custom_mask;  // u8 [mask_bytes], not copied: must live until the last run; with MaskMode::kCustom
  TensorView custom_mask_indptr;  // [batch_size + 1], bytes
  TensorView alibi_slopes;        // f32 [num_qo_heads], not copied; optional
  int num_qo_heads = 0;
  int num_kv_heads = 0;
  int head_dim_qk = 0;
  int head_dim_vo = 0;  // 0: head_dim_qk
  int page_size = 0;    // 0: ragged KV
  KvLayout kv_layout = KvLayout::kNhd;
  Dtype q_dtype = Dtype::kBf16;
  Dtype kv_dtype = Dtype::kBf16;
  AttentionOptions options;
  // A user's hooks (attention_variant.h); with them there is no soft cap, position encoding, ALiBi slope or
  // sink: a text says these itself. `plan` compiles it where nothing has yet.
  AttentionVariant variant;

  Device device;  // where the tensors of `run` will be; custom_mask and alibi_slopes are there
  // GPU only.
  AttentionCapacity capacity;
  TensorView workspace;  // u8 [workspace_bytes] for partial results, not copied; optional: without one the
                         // object has its own
};

struct AttentionRunArgs {
  TensorView q;  // [nnz_qo, num_qo_heads, head_dim_qk]; f32, f16, bf16, e4m3
  TensorView k;  // paged NHD: [num_pages, page_size, num_kv_heads, head_dim_qk], HND: [num_pages,
                 // num_kv_heads, page_size, head_dim_qk]; ragged: [nnz_kv, num_kv_heads, head_dim_qk], HND:
                 // [num_kv_heads, nnz_kv, head_dim_qk]. Any strides but the innermost
  TensorView v;  // like k, with head_dim_vo
  TensorView q_scales;           // f32 [num_qo_heads]; optional, with q in e4m3
  TensorView k_scales;           // f32 [num_kv_heads]; optional, with q in e4m3
  TensorView v_scales;           // f32 [num_kv_heads]; optional, with q in e4m3
  TensorView sinks;              // f32 [num_qo_heads]; optional
  TensorView out;                // [nnz_qo, num_qo_heads, head_dim_vo]; f32, f16, bf16
  TensorView lse;                // f32 [nnz_qo, num_qo_heads]; optional
  TensorView variant_arguments;  // VariantArguments::view() of the planned variant, if it has parameters
  // Factors of quantised q, k and v in this run, times those of the plan: the layers under one plan may have
  // scales of their own.
  float q_scale = 1;
  float k_scale = 1;
  float v_scale = 1;
};

// Attention of a batch of requests: decode (one query token each), prefill, append and any mixture.
//
//   BatchAttention attention;
//   attention.plan({.qo_indptr = …, .kv_indptr = …, .kv_indices = …, .last_page_len = …, .num_qo_heads = 32,
//   …}); for (each layer) attention.run({.q = q, .k = k_cache, .v = v_cache, .out = out});
//
// `plan` turns shapes and indices into a work list and sizes the workspace exactly; it may be called again
// and again and keeps its memory. `run` allocates nothing, takes no lock and may be called any number of
// times after one plan. One object serves one thread at a time; different objects are independent.
//
// On a GPU (`device`), plan enqueues one copy on its stream, and run launches on its own; neither waits for
// the GPU. Where a call's stream is another than that of the call before it, it first waits, on the GPU, for
// what that one has been given; it must still exist. `run` may be captured in a CUDA graph: with a declared
// capacity, later plans change what its replays do; without one, they are errors. A replay reads what the
// last plan has copied: order the two by their stream.
//
// Errors (Error, kInvalidArgument): anything that contradicts the shapes above; num_qo_heads not a multiple
// of num_kv_heads; head dimensions other than multiples of 8 up to 512; indptr that does not start at 0 or
// decreases; page numbers that the cache of `run` does not have; last_page_len outside 1 … page_size; `run`
// before `plan`, or with other shapes or dtypes than planned.
class STROBE_API BatchAttention {
 public:
  BatchAttention();
  ~BatchAttention();
  BatchAttention(BatchAttention&&) noexcept;
  BatchAttention& operator=(BatchAttention&&) noexcept;

  void plan(const AttentionPlanArgs& args, const Launch& launch = {});
  // The same from index arrays that are on the GPU `args.device`, without a look at them from the host: a
  // kernel makes the list that `plan` would make of them. It reads them when the stream comes to it, and may
  // be captured itself (but for the first call), so that replays follow the lengths of the moment. kv_indices
  // is not copied: it is read by every run. What the host cannot know is declared: `capacity`; `q` of the
  // runs has max_query_tokens rows at least. For what the decode kernel serves (kUnsupported says so
  // otherwise): few query tokens of f16 or bf16, no custom mask, ALiBi only with slopes. A request whose
  // numbers contradict each other or the capacity gets no work, and its rows of `out` stay as they are; page
  // numbers are not checked. STROBE_CHECK_INDICES=1 finds both.
  void plan_on_device(const AttentionPlanArgs& args, const Launch& launch = {});
  void run(const AttentionRunArgs& args, const Launch& launch = {});

  // Bytes of workspace that `run` uses for the current plan: partial results and every worker's scratch.
  std::size_t workspace_bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace strobe::inline v1
