#include "bench/flashinfer/output.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <utility>

namespace strobe::bench::flashinfer {
namespace {

using Fields = std::map<std::string, std::string, std::less<>>;

constexpr std::string_view kColumns[] = {
    // perf
    "routine", "median_time", "std_time", "tflops", "tb_per_sec", "backend", "resolved_backend",
    // attention
    "s_qo", "s_kv", "head_dim_qk", "head_dim_vo", "head_dim_ckv", "head_dim_kpe", "causal", "q_dtype",
    "kv_dtype", "avg_actual_seq_len", "random_actual_seq_len", "is_var_seq", "cute_dsl_impl",
    // gemm
    "n", "group_size", "tile_size", "scale_major_mode", "mma_sm", "use_128x4_sf_layout", "use_nvfp4", "bias",
    // moe
    "num_tokens", "intermediate_size", "num_experts", "top_k", "n_group", "topk_group",
    "routed_scaling_factor", "local_expert_offset", "local_num_experts", "routing_method",
    "use_shuffled_weight", "weight_layout", "use_routing_bias", "use_routing_scales_on_input", "weight_dtype",
    "activation_type", "fp4_mode", "cold_l2_cache", "cutlass_variant", "quantized_input", "tp_size",
    "tp_rank", "ep_size", "ep_rank",
    // moe_comm
    "num_tokens", "num_experts", "top_k", "ep_size", "max_num_tokens",
    // allreduce_comm
    "num_tokens", "ar_backend", "pattern", "layout_code",
    // mixed_comm
    "local_bs", "op_name", "mode_name", "local_tp_size", "local_dp_size", "inter_tp_size", "inter_dp_size",
    // norm
    "num_heads", "scale", "eps", "use_global_scale", "dit_mode", "ppf", "pph", "ppw",
    // quantization
    "alignment", "global_scale", "sf_layout", "do_shuffle", "sf_vec_size",
    // sampling
    "vocab_size", "top_k", "top_p", "min_p", "temperature", "num_speculate_tokens", "filter_apply_order",
    "max_len", "num_rows",
    // topk_varlen
    "max_seq_len",
    // rope
    "seq_len", "head_dim", "rotary_dim", "no_rope_dim", "rope_theta", "rope_scale", "interleave", "kv_layout",
    // mamba
    "nheads", "dim", "dstate", "ngroups", "cache_steps", "state_dtype", "weight_dtype", "has_z",
    "dt_softplus",
    // gdn
    "num_q_heads", "num_k_heads", "num_v_heads", "head_size", "state_layout", "pool_mode", "update_state",
    "use_qk_l2norm",
    // kda
    "kda_variant", "kda_variant_policy", "sm_count", "packed", "has_initial_state",
    // msa
    "topk", "max_k_tiles", "total_q", "total_kv",
    // general
    "batch_size", "hidden_size", "input_dtype", "out_dtype", "quant_dtype", "m", "k", "num_qo_heads",
    "num_kv_heads", "page_size", "enable_pdl", "is_sf_swizzled_layout", "refcheck", "no_cuda_graph",
    "use_cupti", "allow_output_mismatch", "random_seed", "case_tag", "generate_repro_command",
    "repro_command"};

constexpr std::string_view kOwnColumns[] = {
    "device",      "isa",         "threads",        "min_time",          "num_iters",
    "outliers",    "plan_time",   "roofline_bound", "roofline_fraction", "check_result",
    "max_abs_err", "max_rel_err", "strobe_routine", "strobe_flags"};

// A parameter of Strobe's in the column that FlashInfer has for it, where their names differ.
struct Rename {
  std::string_view family, parameter, column;
};
constexpr Rename kRenames[] = {
    {"attention", "qo_len", "s_qo"},      {"attention", "kv_len", "s_kv"},
    {"attention", "dtype", "q_dtype"},    {"", "dtype", "input_dtype"},
    {"norm", "num_tokens", "batch_size"}, {"norm_quant", "num_tokens", "batch_size"},
    {"", "hidden", "hidden_size"},        {"rope", "nnz", "seq_len"},
};

std::string_view column_of(std::string_view family, std::string_view parameter) {
  for (const Rename& rename : kRenames)
    if ((rename.family.empty() || rename.family == family) && rename.parameter == parameter)
      return rename.column;
  return parameter;
}

// As Python prints it: True, bfloat16.
std::string python_text(std::string_view column, const std::string& text) {
  if (text == "true") return "True";
  if (text == "false") return "False";
  if (!column.ends_with("dtype")) return text;
  constexpr std::pair<std::string_view, std::string_view> kDtypes[] = {{"f32", "float32"},
                                                                       {"f16", "float16"},
                                                                       {"bf16", "bfloat16"},
                                                                       {"e4m3", "fp8_e4m3"},
                                                                       {"e5m2", "fp8_e5m2"}};
  for (const auto& [ours, theirs] : kDtypes)
    if (text == ours) return std::string(theirs);
  return text;
}

void add_values(const op::Case& values, std::string_view family, Fields& fields) {
  for (const auto& [name, value] : values.values()) {
    const std::string_view column = column_of(family, name);
    fields[std::string(column)] = python_text(column, value);
  }
}

std::string python_flag(bool value) { return value ? "True" : "False"; }

std::string milliseconds(double seconds) { return fmt::format("{}", seconds * 1e3); }

void add_results(const Row& row, Fields& fields) {
  const Timing& timing = row.timing;
  fields["median_time"] = milliseconds(timing.median());
  fields["std_time"] = milliseconds(timing.deviation());
  fields["min_time"] = milliseconds(timing.min());
  fields["num_iters"] = fmt::format("{}", timing.seconds.size());
  fields["outliers"] = fmt::format("{}", timing.outliers());
  if (row.plan_seconds) fields["plan_time"] = milliseconds(*row.plan_seconds);
  fields["tflops"] = fmt::format("{}", row.tflops());
  fields["tb_per_sec"] = fmt::format("{}", row.tb_per_sec());
  fields["roofline_bound"] = name(row.floor.bound);
  fields["roofline_fraction"] = fmt::format("{}", row.fraction());
  fields["check_result"] = !row.check ? "skipped" : row.check->passed ? "pass" : "fail";
  if (row.check) {
    fields["max_abs_err"] = fmt::format("{}", row.check->max_abs_error);
    fields["max_rel_err"] = fmt::format("{}", row.check->max_rel_error);
  }
}

void add_options(const RunOptions& options, Fields& fields) {
  fields["refcheck"] = python_flag(options.refcheck);
  fields["allow_output_mismatch"] = python_flag(options.allow_output_mismatch);
  fields["no_cuda_graph"] = python_flag(options.no_cuda_graph);
  fields["use_cupti"] = python_flag(options.gpu_clock == GpuClock::kCupti);
  fields["enable_pdl"] = python_flag(options.enable_pdl);
  fields["random_seed"] = fmt::format("{}", options.random_seed);
  fields["case_tag"] = options.case_tag;
  fields["generate_repro_command"] = python_flag(options.generate_repro_command);
}

std::string backend_of(const Row& row) {
  return row.on_gpu() ? row.backend : fmt::format("{}/{}", row.backend, row.isa);
}

Fields fields_of(const Row& row) {
  Fields fields;
  add_values(row.values, row.family, fields);
  if (row.values.has("lengths"))
    fields["random_actual_seq_len"] = python_flag(row.values.text("lengths") != "same");
  if (row.flashinfer) add_values(row.flashinfer->values, "", fields);
  add_results(row, fields);
  add_options(row.options, fields);
  fields["routine"] = row.flashinfer ? row.flashinfer->routine : row.routine;
  fields["backend"] = fields["resolved_backend"] = backend_of(row);
  fields["device"] = row.device;
  fields["isa"] = row.isa;
  fields["threads"] = fmt::format("{}", row.threads);
  fields["strobe_routine"] = row.routine;
  fields["strobe_flags"] = row.flags;
  if (row.options.generate_repro_command) fields["repro_command"] = row.repro;
  return fields;
}

std::string csv_field(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == text.npos) return std::string(text);
  std::string field = "\"";
  for (char c : text) field += c == '"' ? "\"\"" : std::string(1, c);
  return field + "\"";
}

}  // namespace

std::string perf_line(const Row& row) {
  return fmt::format(
      "[PERF] {:<15}:: median time {:.3f} ms; std {:.3f} ms; achieved tflops {:.3f} TFLOPs/sec; "
      "achieved tb_per_sec {:.3f} TB/sec\n",
      backend_of(row), row.timing.median() * 1e3, row.timing.deviation() * 1e3, row.tflops(),
      row.tb_per_sec());
}

std::vector<std::string_view> csv_columns() {
  std::vector<std::string_view> columns(std::begin(kColumns), std::end(kColumns));
  columns.insert(columns.end(), std::begin(kOwnColumns), std::end(kOwnColumns));
  return columns;
}

std::string csv_text(std::span<const Row> rows) {
  const std::vector<std::string_view> columns = csv_columns();
  std::string text = fmt::format("{}\n", fmt::join(columns, ","));
  for (const Row& row : rows) {
    const Fields fields = fields_of(row);
    std::string_view separator = "";
    for (std::string_view column : columns) {
      const auto found = fields.find(column);
      text += separator;
      if (found != fields.end()) text += csv_field(found->second);
      separator = ",";
    }
    text += "\n";
  }
  return text;
}

}  // namespace strobe::bench::flashinfer
