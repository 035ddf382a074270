#include "bench/flashinfer/translate.h"

#include <algorithm>

#include "bench/flashinfer/flags.h"
#include "core/message.h"
#include "strobe/operators.h"

namespace strobe::bench::flashinfer {
namespace {

// The parameters of one case of Strobe's.
struct Target {
  std::string routine;
  std::vector<Flag> flags;

  void set(std::string name, std::string value) { flags.emplace_back(std::move(name), std::move(value)); }
};

std::string number_text(std::int64_t value) { return std::to_string(value); }

std::string dtype_text(const op::Case& given, std::string_view flag) {
  return std::string(strobe::name(given.dtype(flag)));
}

// Values of flags that are there to be the same.
void expect_same(const op::Case& given, std::string_view flag, std::string_view other, std::string_view why) {
  const std::string& value = given.text(flag);
  if (!value.empty() && value != given.text(other))
    fail(ErrorKind::kUnsupported, "{}: expected that of {}, '{}', got '{}': {}", flag, other,
         given.text(other), value, why);
}

// The routine writes the dtype of the queries, bf16 for those in e4m3.
void check_out_dtype(const op::Case& given) {
  if (given.dtype("q_dtype") != Dtype::kE4m3)
    return expect_same(given, "out_dtype", "q_dtype", "Strobe's routine writes the dtype of its queries");
  if (!given.text("out_dtype").empty() && given.dtype("out_dtype") != Dtype::kBf16)
    fail(ErrorKind::kUnsupported, "out_dtype: expected 'bfloat16' beside q_dtype fp8_e4m3, got '{}'",
         given.text("out_dtype"));
}

Target attention(std::string_view routine, const op::Case& given) {
  check_out_dtype(given);
  expect_same(given, "v_dtype", "kv_dtype", "Strobe's attention has one dtype for keys and values");
  const bool decode = routine == "BatchDecodeWithPagedKVCacheWrapper";
  const bool paged = routine != "BatchPrefillWithRaggedKVCacheWrapper";
  const bool one_token = given.integer("s_qo") == 1;
  Target target;
  target.routine = decode && one_token ? "batch_decode_paged"
                   : paged             ? "batch_prefill_paged"
                                       : "batch_prefill_ragged";
  target.set("batch_size", given.text("batch_size"));
  if (!decode || !one_token) {
    target.set("qo_len", given.text("s_qo"));
    // Several tokens of a decode see what is before them, unless the mask of the draft is full.
    const bool causal = decode ? given.text("spec_dec_mask") != "full" : given.flag("causal");
    target.set("causal", causal ? "true" : "false");
  }
  target.set("kv_len", given.text("s_kv"));
  if (given.flag("random_actual_seq_len")) target.set("lengths", "any");
  if (paged) {
    if (given.integer("page_size") == 0)
      fail(ErrorKind::kInvalidArgument, "page_size: expected tokens of a page, got '{}'",
           given.text("page_size"));
    target.set("page_size", given.text("page_size"));
  }
  target.set("num_qo_heads", given.text("num_qo_heads"));
  target.set("num_kv_heads", given.text("num_kv_heads"));
  target.set("head_dim_qk", given.text("head_dim_qk"));
  target.set("head_dim_vo", given.text(given.text("head_dim_vo").empty() ? "head_dim_qk" : "head_dim_vo"));
  target.set("kv_layout", paged ? "HND" : "NHD");  // as FlashInfer's benchmark lays them out
  target.set("dtype", dtype_text(given, "q_dtype"));
  target.set("kv_dtype", dtype_text(given, "kv_dtype"));
  target.set("return_lse", "false");
  return target;
}

Target norm(std::string_view routine, const op::Case& given) {
  const bool gemma = routine.starts_with("gemma_"), quantised = routine.ends_with("_quant");
  Target target;
  target.routine = routine.substr(gemma ? std::string_view("gemma_").size() : 0);
  const std::int64_t heads = given.text("num_heads").empty() ? 1 : given.integer("num_heads");
  target.set("num_tokens", number_text(given.integer("batch_size") * heads));
  target.set("hidden", given.text("hidden_size"));
  target.set("dtype", dtype_text(given, "input_dtype"));
  target.set("eps", given.text("eps"));
  if (gemma) target.set("gemma", "true");
  if (quantised) {
    target.set("out_dtype", dtype_text(given, "out_dtype"));
    target.set("scale", given.text("scale"));
  }
  return target;
}

Target rope(std::string_view routine, const op::Case& given) {
  const bool llama31 = routine.starts_with("apply_llama31_");
  const bool table = routine == "apply_rope_with_cos_sin_cache";
  const std::string& rotary_dim = given.text("rotary_dim");
  Target target;
  target.routine = llama31 ? "apply_" + std::string(routine.substr(std::string_view("apply_llama31_").size()))
                           : std::string(routine);
  target.set("nnz", number_text(given.integer("batch_size") * given.integer("seq_len")));
  if (target.routine == "apply_rope") target.set("batch_size", given.text("batch_size"));
  target.set("num_qo_heads", given.text("num_qo_heads"));
  target.set("num_kv_heads", given.text("num_kv_heads"));
  target.set("head_dim", given.text("head_dim"));
  target.set("rotary_dim", rotary_dim.empty() ? given.text("head_dim") : rotary_dim);
  target.set("dtype", dtype_text(given, "input_dtype"));
  target.set("interleave", given.text("interleave"));
  if (table) {
    target.set("max_position", given.text("seq_len"));
    return target;
  }
  target.set("rope_scale", given.text("rope_scale"));
  target.set("rope_theta", given.text("rope_theta"));
  if (!llama31) return target;
  target.set("llama31", "true");
  for (const char* name : {"low_freq_factor", "high_freq_factor", "old_context_len"})
    target.set(name, given.text(name));
  return target;
}

// Routines that work on the same flags.
struct Family {
  std::vector<std::string_view> routines;
  std::span<const FlagInfo> (*flags)();
  Target (*translate)(std::string_view routine, const op::Case& given);
  // Where Strobe has a routine of the same name, this flag tells whose line it is; empty: always
  // FlashInfer's.
  std::string_view mark;
};

const std::vector<Family>& families() {
  static const std::vector<Family> all = {
      {{"BatchDecodeWithPagedKVCacheWrapper", "BatchPrefillWithPagedKVCacheWrapper",
        "BatchPrefillWithRaggedKVCacheWrapper"},
       attention_flags,
       attention,
       ""},
      {{"rmsnorm", "fused_add_rmsnorm", "gemma_rmsnorm", "gemma_fused_add_rmsnorm", "rmsnorm_quant",
        "fused_add_rmsnorm_quant", "layernorm_quant"},
       norm_flags,
       norm,
       "hidden_size"},
      {{"apply_rope", "apply_rope_pos_ids", "apply_llama31_rope", "apply_llama31_rope_pos_ids",
        "apply_rope_with_cos_sin_cache"},
       rope_flags,
       rope,
       "seq_len"},
  };
  return all;
}

// What FlashInfer's benchmark has and Strobe has not.
struct Missing {
  std::string_view what;
  std::vector<std::string_view> routines;
};

const std::vector<Missing>& missing() {
  static const std::vector<Missing> all = {
      {"latent attention", {"BatchMLAPagedAttentionWrapper", "trtllm_batch_decode_sparse_mla_dsv4"}},
      {"matrix products",
       {"gemm_fp8_nt_groupwise", "group_gemm_fp8_nt_groupwise", "bmm_fp8", "mm_fp8", "bmm_mxfp8", "mm_fp4",
        "mm_bf16_fp4", "mm_mxfp8", "mm_bf16", "bmm_bf16", "tinygemm_bf16"}},
      {"mixtures of experts",
       {"trtllm_fp4_block_scale_moe", "trtllm_fp8_block_scale_moe", "trtllm_fp8_per_tensor_scale_moe",
        "cutlass_fused_moe", "cute_dsl_fp4_block_scale_moe", "b12x_fused_moe", "unified_nvfp4_moe",
        "unified_moe", "bgmv_moe"}},
      {"communication between devices", {"moe_a2a_dispatch_combine", "allreduce_fusion", "mixed_comm"}},
      {"this norm",
       {"rmsnorm_fp4quant", "add_rmsnorm_fp4quant", "fused_rmsnorm_silu", "fused_dit_layernorm",
        "fused_qk_rmsnorm_rope"}},
      {"block-scaled quantisation",
       {"mxfp8_quantize", "mxfp4_quantize", "nvfp4_quantize", "nvfp4_batched_quantize"}},
      {"sampling",
       {"softmax", "sampling_from_probs", "sampling_from_logits", "top_k_sampling_from_probs",
        "top_p_sampling_from_probs", "top_k_top_p_sampling_from_probs", "top_k_top_p_sampling_from_logits",
        "min_p_sampling_from_probs", "top_k_renorm_probs", "top_p_renorm_probs", "top_k_mask_logits",
        "chain_speculative_sampling", "top_k", "top_k_page_table_transform", "top_k_ragged_transform",
        "top_k_varlen"}},
      {"RoPE with fp8 output",
       {"mla_rope_quantize_fp8", "rope_quantize_fp8", "rope_quantize_fp8_append_paged_kv_cache"}},
      {"state-space models and linear attention",
       {"selective_state_update", "gated_delta_rule_decode", "gated_delta_rule_mtp", "chunk_gated_delta_rule",
        "recurrent_kda_prefill"}},
      {"sparse attention", {"sparse_attention"}},
  };
  return all;
}

const Family* find_family(std::string_view routine) {
  for (const Family& family : families())
    if (std::find(family.routines.begin(), family.routines.end(), routine) != family.routines.end())
      return &family;
  return nullptr;
}

bool is_strobe_routine(std::string_view name) {
  const std::vector<std::string> names = routine_names();
  return std::find(names.begin(), names.end(), name) != names.end();
}

// The flags of FlashInfer's; what is left in `flags` is Strobe's.
std::vector<Flag> take_known(std::vector<Flag>& flags, std::span<const FlagInfo> known) {
  std::vector<Flag> taken;
  std::erase_if(flags, [&](Flag& flag) {
    const bool is_known = std::any_of(
        known.begin(), known.end(), [&](const FlagInfo& info) { return info.parameter.name == flag.first; });
    if (is_known) taken.push_back(flag);
    return is_known;
  });
  return taken;
}

std::vector<std::string> check_uses(std::span<const FlagInfo> known, std::span<const Flag> given) {
  std::vector<std::string> notes;
  for (const FlagInfo& info : known) {
    const bool is_given = std::any_of(given.begin(), given.end(),
                                      [&](const Flag& flag) { return flag.first == info.parameter.name; });
    if (info.use == Use::kRequired && !is_given)
      fail(ErrorKind::kInvalidArgument, "expected --{}: {}", info.parameter.name, info.parameter.doc);
    if (info.use == Use::kNoEffect && is_given)
      notes.push_back(fmt::format("--{} changes nothing: {}", info.parameter.name, info.reason));
  }
  return notes;
}

Translation translate_with(const Family& family, std::string_view routine, std::vector<Flag> flags) {
  const std::span<const FlagInfo> known = family.flags();
  std::vector<op::Parameter> parameters;
  for (const FlagInfo& info : known) parameters.push_back(info.parameter);
  const std::vector<Flag> own = take_known(flags, known);
  Translation result;
  result.notes = check_uses(known, own);
  const op::Case given = case_values(routine, parameters, own);
  Target target = family.translate(routine, given);
  for (Flag& flag : flags) {  // over what the translation set, where both are about one thing
    std::erase_if(target.flags, [&](const Flag& set) { return set.first == flag.first; });
    target.flags.push_back(std::move(flag));
  }
  result.bench_case = make_case(target.routine, target.flags);
  result.bench_case.flashinfer = FlashInferLine{std::string(routine), given};
  return result;
}

}  // namespace

std::optional<Translation> translate(std::string_view routine, std::span<const std::string> words) {
  const Family* family = find_family(routine);
  if (family == nullptr) {
    if (is_strobe_routine(routine)) return {};
    for (const auto& [what, names] : missing())
      if (std::find(names.begin(), names.end(), routine) != names.end())
        fail(ErrorKind::kUnsupported, "{}: FlashInfer's benchmark has this routine, Strobe does not have {}",
             routine, what);
    return {};
  }
  const std::vector<Flag> flags = split_flags(routine, words);
  const auto is_mark = [&](const Flag& flag) { return flag.first == family->mark; };
  if (!family->mark.empty() && is_strobe_routine(routine) &&
      std::none_of(flags.begin(), flags.end(), is_mark))
    return {};
  try {
    return translate_with(*family, routine, flags);
  } catch (const Error& error) {
    const std::string_view message = error.what();
    if (message.starts_with(routine)) throw;
    fail(error.kind(), "{}: {}", routine, message);
  }
}

std::vector<std::string_view> routines() {
  std::vector<std::string_view> names;
  for (const Family& family : families())
    names.insert(names.end(), family.routines.begin(), family.routines.end());
  return names;
}

std::vector<std::string_view> missing_routines() {
  std::vector<std::string_view> names;
  for (const auto& [what, routines] : missing()) names.insert(names.end(), routines.begin(), routines.end());
  return names;
}

}  // namespace strobe::bench::flashinfer
