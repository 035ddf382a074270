#include "bench/suites.h"

#include "core/message.h"

namespace strobe::bench {
namespace {

constexpr std::string_view kQuick = R"(
rmsnorm --num_tokens 1024
fused_add_rmsnorm --num_tokens 1024
silu_and_mul --num_tokens 256
apply_rope_pos_ids --nnz 1024
append_paged_kv_cache --nnz 1024 --kv_layout HND
single_decode --kv_len 4096
batch_decode_paged --batch_size 4 --kv_len 2048
single_prefill --qo_len 512 --kv_len 512
batch_mixed_paged --batch_size 8 --qo_len 128 --kv_len 2048
)";

// Llama 3.1 8B: hidden 4096, intermediate 14336, 32 query and 8 KV heads of 128. Decode batches of 1, 16 and
// 64 tokens, prefills of up to 4096; long cases take fewer calls.
constexpr std::string_view kLlama8b = R"(
# Norms, at the start of a layer and before the MLP.
rmsnorm --num_tokens 1
rmsnorm --num_tokens 64
rmsnorm --num_tokens 4096
fused_add_rmsnorm --num_tokens 1
fused_add_rmsnorm --num_tokens 64
fused_add_rmsnorm --num_tokens 4096

# RoPE with Llama 3.1's frequencies.
apply_rope_pos_ids --nnz 1 --llama31 true --rope_theta 500000 --rope_scale 8
apply_rope_pos_ids --nnz 64 --llama31 true --rope_theta 500000 --rope_scale 8
apply_rope_pos_ids --nnz 4096 --llama31 true --rope_theta 500000 --rope_scale 8

# New tokens into the cache: a decode step of 64 requests, prefills.
append_paged_kv_cache --nnz 64 --batch_size 64 --kv_layout HND
append_paged_kv_cache --nnz 4096 --kv_layout HND
append_paged_kv_cache --nnz 4096 --kv_layout NHD
append_paged_kv_cache --nnz 4096 --kv_layout HND --page_size 1 --num_pages 16384 --num_kv_indices 16384
append_paged_kv_cache --nnz 4096 --kv_layout HND --page_size 64 --num_pages 256 --num_kv_indices 256

# Activation of the MLP.
silu_and_mul --num_tokens 1
silu_and_mul --num_tokens 64
silu_and_mul --num_tokens 4096 --num_iters 10

# Decode.
single_decode --kv_len 4096
batch_decode_paged --batch_size 1 --kv_len 1024 --page_size 16
batch_decode_paged --batch_size 1 --kv_len 8192 --page_size 16
batch_decode_paged --batch_size 16 --kv_len 1024 --page_size 16
batch_decode_paged --batch_size 16 --kv_len 4096 --page_size 1
batch_decode_paged --batch_size 16 --kv_len 4096 --page_size 16
batch_decode_paged --batch_size 16 --kv_len 4096 --page_size 64
batch_decode_paged --batch_size 16 --kv_len 4096 --page_size 64 --kv_layout NHD
batch_decode_paged --batch_size 16 --kv_len 4096 --page_size 64 --kv_dtype e4m3
batch_decode_paged --batch_size 16 --kv_len 4096 --page_size 64 --deterministic true
batch_decode_paged --batch_size 16 --kv_len 8192 --page_size 16 --lengths skewed
batch_decode_paged --batch_size 64 --kv_len 1024 --page_size 16
batch_decode_paged --batch_size 64 --kv_len 4096 --page_size 16 --lengths random --num_iters 10

# Prefill.
single_prefill --qo_len 1024 --kv_len 1024
single_prefill --qo_len 1024 --kv_len 1024 --dtype f32 --num_iters 10
batch_prefill_ragged --batch_size 4 --qo_len 1024 --kv_len 1024 --num_iters 10
batch_prefill_paged --batch_size 1 --qo_len 512 --kv_len 512
batch_prefill_paged --batch_size 1 --qo_len 1024 --kv_len 1024 --page_size 64
batch_prefill_paged --batch_size 1 --qo_len 4096 --kv_len 4096 --num_iters 5
batch_prefill_paged --batch_size 4 --qo_len 512 --kv_len 4096 --num_iters 5

# Mixed batches: chunks of prefill among decodes.
batch_mixed_paged --batch_size 16 --qo_len 512 --kv_len 4096 --lengths random --num_iters 10
batch_mixed_paged --batch_size 16 --qo_len 512 --kv_len 8192 --lengths skewed --num_iters 10
batch_mixed_paged --batch_size 64 --qo_len 256 --kv_len 2048 --lengths random --page_size 64 --num_prefill 2 --num_iters 10
)";

constexpr Suite kSuites[] = {
    {"quick", "a few seconds: one case or two of each operator", kQuick},
    {"llama-3.1-8b", "every operator of a layer of Llama 3.1 8B, from single tokens to long prefills",
     kLlama8b},
};

}  // namespace

std::span<const Suite> suites() { return kSuites; }

std::vector<std::string_view> suite_names() {
  std::vector<std::string_view> names;
  for (const Suite& suite : kSuites) names.push_back(suite.name);
  return names;
}

std::vector<BenchCase> suite_cases(std::string_view name) {
  for (const Suite& suite : kSuites)
    if (suite.name == name) return parse_suite(name, suite.lines);
  fail(ErrorKind::kInvalidArgument, "unknown suite '{}'; known: {}", name, fmt::join(suite_names(), ", "));
}

}  // namespace strobe::bench
