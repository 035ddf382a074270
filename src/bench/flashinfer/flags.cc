#include "bench/flashinfer/flags.h"

#include <limits>

namespace strobe::bench::flashinfer {
namespace {

using op::ValueRule;

const ValueRule kCount = ValueRule::integer(0), kPositive = ValueRule::integer(1), kFlag = ValueRule::flag();
const ValueRule kAnyNumber = {.kind = ValueRule::Kind::kNumber};

constexpr std::string_view kMlaOnly = "only BatchMLAPagedAttentionWrapper has it";
constexpr std::string_view kFp4Only = "only routines with fp4 output have it";
constexpr std::string_view kDitOnly = "only fused_dit_layernorm has it";
constexpr std::string_view kQkNormOnly = "only fused_qk_rmsnorm_rope has it";
constexpr std::string_view kQuantRopeOnly = "only the RoPE routines with fp8 output have it";
constexpr std::string_view kNoAutotuner = "Strobe plans without trial runs, so there is nothing to tune";

}  // namespace

std::span<const FlagInfo> attention_flags() {
  static const std::vector<FlagInfo> flags = {
      {{"batch_size", "", "requests", kPositive}, Use::kRequired},
      {{"s_qo", "1", "query tokens of a request", kPositive}},
      {{"s_kv", "", "KV tokens of a request", kPositive}, Use::kRequired},
      {{"page_size", "0", "tokens of a page", kCount}},
      {{"num_qo_heads", "", "query heads", kPositive}, Use::kRequired},
      {{"num_kv_heads", "", "KV heads", kPositive}, Use::kRequired},
      {{"head_dim_qk", "", "elements of a query or key", kPositive}, Use::kRequired},
      {{"head_dim_vo", "", "elements of a value or output", kPositive}},
      {{"q_dtype", "bfloat16", "of the query"}},
      {{"kv_dtype", "bfloat16", "of keys and values"}},
      {{"v_dtype", "", "of values"}},
      {{"out_dtype", "", "of the output"}},
      {{"causal", "false", "right-aligned causal mask", kFlag}},
      {{"spec_dec_mask", "", "of several query tokens in decode", ValueRule::choice({"causal", "full"})}},
      {{"random_actual_seq_len", "false", "lengths from 1 to s_kv", kFlag}},
      {{"autotune", "false", "", kFlag}, Use::kNoEffect, kNoAutotuner},
      {{"head_dim_ckv", "", "", kPositive}, Use::kNoEffect, kMlaOnly},
      {{"head_dim_kpe", "", "", kPositive}, Use::kNoEffect, kMlaOnly},
      {{"mla_is_var_seq", "", ""}, Use::kNoEffect, kMlaOnly},
      {{"mla_cute_dsl_impl", "", ""}, Use::kNoEffect, kMlaOnly},
  };
  return flags;
}

std::span<const FlagInfo> norm_flags() {
  static const std::vector<FlagInfo> flags = {
      {{"batch_size", "", "rows", kPositive}, Use::kRequired},
      {{"hidden_size", "", "elements of a row", kPositive}, Use::kRequired},
      {{"num_heads", "", "rows of each of the batch", kPositive}},
      {{"input_dtype", "bfloat16", "of input, residual and weight"}},
      {{"eps", "1e-6", "added to the mean square", kAnyNumber}},
      {{"scale", "1.0", "of a quantised output", kAnyNumber}},
      {{"out_dtype", "fp8_e4m3", "of a quantised output"}},
      {{"use_global_scale", "false", "", kFlag}, Use::kNoEffect, kFp4Only},
      {{"is_sf_swizzled_layout", "false", "", kFlag}, Use::kNoEffect, kFp4Only},
      {{"output_both_sf_layouts", "false", "", kFlag}, Use::kNoEffect, kFp4Only},
      {{"dit_mode", "", ""}, Use::kNoEffect, kDitOnly},
      {{"ppf", "", ""}, Use::kNoEffect, kQkNormOnly},
      {{"pph", "", ""}, Use::kNoEffect, kQkNormOnly},
      {{"ppw", "", ""}, Use::kNoEffect, kQkNormOnly},
  };
  return flags;
}

std::span<const FlagInfo> rope_flags() {
  static const std::vector<FlagInfo> flags = {
      {{"batch_size", "", "requests", kPositive}, Use::kRequired},
      {{"seq_len", "", "tokens of a request", kPositive}, Use::kRequired},
      {{"num_qo_heads", "", "query heads", kPositive}, Use::kRequired},
      {{"num_kv_heads", "", "key heads", kPositive}, Use::kRequired},
      {{"head_dim", "", "elements of a head", kPositive}, Use::kRequired},
      {{"rotary_dim", "", "elements of a head that are rotated; empty: all", kPositive}},
      {{"input_dtype", "float16", "of queries and keys"}},
      {{"rope_scale", "1.0", "divides positions", kAnyNumber}},
      {{"rope_theta", "10000.0", "base of the frequencies", kAnyNumber}},
      {{"interleave", "false", "pairs (2i, 2i + 1)", kFlag}},
      {{"low_freq_factor", "1.0", "of Llama 3.1", kAnyNumber}},
      {{"high_freq_factor", "4.0", "of Llama 3.1", kAnyNumber}},
      {{"old_context_len", "8192", "of Llama 3.1", kAnyNumber}},
      {{"no_rope_dim", "0", "", kCount}, Use::kNoEffect, kQuantRopeOnly},
      {{"quant_dtype", "fp8_e4m3", ""}, Use::kNoEffect, kQuantRopeOnly},
      {{"page_size", "16", "", kPositive}, Use::kNoEffect, kQuantRopeOnly},
      {{"kv_layout", "NHD", ""}, Use::kNoEffect, kQuantRopeOnly},
  };
  return flags;
}

}  // namespace strobe::bench::flashinfer
