// Command lines of FlashInfer's benchmark: what they become here, and the forms of its results.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

#include "bench/flashinfer/output.h"
#include "bench/flashinfer/translate.h"
#include "bench/test_list.h"
#include "strobe/operators.h"
#include "support/command.h"
#include "support/sweep.h"

namespace strobe::bench {
namespace {

using test::error_message;
using test::Folder;
using test::Outcome;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

flashinfer::Translation translated(const std::string& routine, const std::string& flags) {
  std::optional<flashinfer::Translation> result = flashinfer::translate(routine, split_words(flags));
  EXPECT_TRUE(result) << routine;
  return result ? *result : flashinfer::Translation{};
}

std::string line_of(const std::string& routine, const std::string& flags) {
  const BenchCase one = translated(routine, flags).bench_case;
  return one.routine.routine.name + " " + one.flags;
}

std::string message(const std::string& routine, const std::string& flags) {
  return error_message([&] { flashinfer::translate(routine, split_words(flags)); });
}

constexpr const char* kDecode =
    "--batch_size 4 --s_kv 512 --page_size 16 --num_qo_heads 8 --num_kv_heads 2 --head_dim_qk 128 ";
constexpr const char* kPrefill =
    "--batch_size 2 --s_qo 64 --s_kv 128 --num_qo_heads 8 --num_kv_heads 2 --head_dim_qk 64 --head_dim_vo "
    "64 ";

TEST(FlashInferLine, DecodeIsOneTokenOverPages) {
  EXPECT_EQ(
      line_of("BatchDecodeWithPagedKVCacheWrapper", kDecode),
      "batch_decode_paged --batch_size 4 --kv_len 512 --page_size 16 --num_qo_heads 8 --num_kv_heads 2 "
      "--head_dim_qk 128 --head_dim_vo 128 --kv_layout HND --dtype bf16 --kv_dtype bf16 --return_lse false");
  EXPECT_THAT(line_of("BatchDecodeWithPagedKVCacheWrapper",
                      kDecode + std::string("--random_actual_seq_len --q_dtype float16 --kv_dtype fp8_e4m3")),
              AllOf(HasSubstr("--lengths any"), HasSubstr("--dtype f16"), HasSubstr("--kv_dtype e4m3")));
}

// Several tokens of a decode attend to all before them, as an append does.
TEST(FlashInferLine, SpeculativeDecodeIsAnAppend) {
  EXPECT_THAT(line_of("BatchDecodeWithPagedKVCacheWrapper", kDecode + std::string("--s_qo 4")),
              AllOf(HasSubstr("batch_prefill_paged "), HasSubstr("--qo_len 4 --causal true")));
  EXPECT_THAT(
      line_of("BatchDecodeWithPagedKVCacheWrapper", kDecode + std::string("--s_qo 4 --spec_dec_mask full")),
      HasSubstr("--causal false"));
}

TEST(FlashInferLine, PrefillIsCausalWhenItSaysSo) {
  const std::string pages = kPrefill + std::string("--page_size 16 ");
  EXPECT_THAT(
      line_of("BatchPrefillWithPagedKVCacheWrapper", pages),
      AllOf(HasSubstr("batch_prefill_paged "), HasSubstr("--causal false"), HasSubstr("--kv_layout HND")));
  EXPECT_THAT(line_of("BatchPrefillWithPagedKVCacheWrapper", pages + "--causal"), HasSubstr("--causal true"));
  EXPECT_THAT(
      line_of("BatchPrefillWithRaggedKVCacheWrapper", kPrefill),
      AllOf(HasSubstr("batch_prefill_ragged "), HasSubstr("--kv_layout NHD"), Not(HasSubstr("page_size"))));
}

TEST(FlashInferLine, NormsTellByTheirFlagsWhoseTheyAre) {
  EXPECT_EQ(line_of("rmsnorm", "--batch_size 32 --hidden_size 4096"),
            "rmsnorm --num_tokens 32 --hidden 4096 --dtype bf16 --eps 1e-6");
  EXPECT_FALSE(flashinfer::translate("rmsnorm", split_words("--num_tokens 32 --hidden 4096")));
  EXPECT_THAT(line_of("gemma_fused_add_rmsnorm", "--batch_size 2 --num_heads 8 --hidden_size 128"),
              AllOf(HasSubstr("fused_add_rmsnorm --num_tokens 16 --hidden 128"), HasSubstr("--gemma true")));
  EXPECT_THAT(line_of("rmsnorm_quant", "--batch_size 2 --hidden_size 64 --out_dtype fp8_e5m2 --scale 0.5"),
              AllOf(HasSubstr("--out_dtype e5m2"), HasSubstr("--scale 0.5")));
}

TEST(FlashInferLine, RopesHaveRequestsOfOneLength) {
  const std::string heads = "--batch_size 4 --seq_len 16 --num_qo_heads 8 --num_kv_heads 2 --head_dim 64 ";
  EXPECT_THAT(line_of("apply_rope", heads), HasSubstr("apply_rope --nnz 64 --batch_size 4 "));
  EXPECT_THAT(line_of("apply_rope_pos_ids", heads + "--interleave --rotary_dim 32"),
              AllOf(HasSubstr("--interleave true"), HasSubstr("--rotary_dim 32"), HasSubstr("--dtype f16")));
  EXPECT_THAT(line_of("apply_llama31_rope_pos_ids", heads + "--rope_scale 8 --rope_theta 500000"),
              AllOf(HasSubstr("apply_rope_pos_ids "), HasSubstr("--llama31 true"),
                    HasSubstr("--rope_scale 8 "), HasSubstr("--old_context_len 8192")));
  EXPECT_THAT(line_of("apply_rope_with_cos_sin_cache", heads), HasSubstr("--max_position 16"));
  EXPECT_FALSE(flashinfer::translate("apply_rope", split_words("--nnz 64 --batch_size 4")));
}

TEST(FlashInferLine, MayHaveFlagsOfStrobesRoutine) {
  EXPECT_THAT(line_of("BatchDecodeWithPagedKVCacheWrapper",
                      kDecode + std::string("--window_left 127 --kv_layout NHD")),
              AllOf(HasSubstr("--window_left 127"), HasSubstr("--kv_layout NHD"), Not(HasSubstr("HND"))));
}

TEST(FlashInferLine, NamesWhatIsWrong) {
  const std::pair<std::string, const char*> wrong[] = {
      {kDecode + std::string("--nope 1"), "unknown parameter 'nope'"},
      {kDecode + std::string("--s_qo none"), "s_qo: expected an integer"},
      {kDecode + std::string("--q_dtype fp8_e5m2"), "dtype: expected f32, f16, bf16 or e4m3, got 'e5m2'"},
      {kDecode + std::string("--q_dtype fp8_e4m3 --out_dtype float16"),
       "out_dtype: expected 'bfloat16' beside q_dtype fp8_e4m3, got 'float16'"},
      {kDecode + std::string("--kv_dtype nvfp4"), "kv_dtype"},
      {kDecode + std::string("--out_dtype float16"),
       "out_dtype: expected that of q_dtype, 'bfloat16', got 'float16'"},
      {"--batch_size 4 --page_size 16 --num_qo_heads 8 --num_kv_heads 2 --head_dim_qk 128",
       "expected --s_kv"},
      {"--batch_size 4 --s_kv 9 --num_qo_heads 8 --num_kv_heads 2 --head_dim_qk 128",
       "page_size: expected tokens"},
  };
  for (const auto& [flags, expected] : wrong)
    EXPECT_THAT(message("BatchDecodeWithPagedKVCacheWrapper", flags),
                AllOf(HasSubstr("BatchDecodeWithPagedKVCacheWrapper: "), HasSubstr(expected)))
        << flags;
}

TEST(FlashInferLine, SaysWhichRoutinesStrobeHasNot) {
  const std::vector<std::string> ours = routine_names();
  for (std::string_view routine : flashinfer::missing_routines())
    if (std::find(ours.begin(), ours.end(), routine) == ours.end())
      EXPECT_THAT(message(std::string(routine), "--m 16 --k 32"),
                  AllOf(HasSubstr(std::string(routine) + ": "), HasSubstr("Strobe does not have")));
  EXPECT_THAT(message("mm_fp4", ""), HasSubstr("matrix products"));
  EXPECT_FALSE(flashinfer::translate("silu_and_mul", {})) << "a routine of Strobe's";
}

// Every flag that FlashInfer documents for these routines is used, or named in a note.
TEST(FlashInferLine, KnowsEveryDocumentedFlag) {
  const Folder folder;
  const std::string attention =
      "--routine BatchPrefillWithPagedKVCacheWrapper --page_size 16 " + std::string(kPrefill) +
      "--q_dtype bfloat16 --kv_dtype bfloat16 --out_dtype bfloat16 --causal --random_actual_seq_len ";
  const std::string shared =
      "--no_cuda_graph --use_cupti --use_cuda_events --refcheck --allow_output_mismatch --random_seed 42 -vv "
      "--num_iters 2 --dry_run_iters 1 --autotune_cache none.json --case_tag tag --generate_repro_command "
      "--repro_command text --enable_pdl --backends fa2 fa2_tc fa3 auto cudnn cudnn-native cutlass "
      "trtllm-gen "
      "trtllm-native trtllm-fmha-v2 trtllm-gen-native cute-dsl prims-ts ";
  const std::string no_effect =
      "--autotune --head_dim_ckv 512 --head_dim_kpe 64 --mla_is_var_seq auto --mla_cute_dsl_impl auto "
      "--spec_dec_mask causal ";
  const std::string norm =
      "--routine layernorm_quant --batch_size 2 --hidden_size 64 --num_heads 2 --input_dtype bfloat16 --eps "
      "1e-5 "
      "--scale 2 --out_dtype fp8_e4m3 --num_iters 2 --use_global_scale --dit_mode a --is_sf_swizzled_layout "
      "--output_both_sf_layouts --ppf 5 --pph 12 --ppw 32 --backends cuda cute-dsl";
  const std::string rope =
      "--routine apply_rope --batch_size 2 --seq_len 8 --num_qo_heads 4 --num_kv_heads 2 --head_dim 64 "
      "--rotary_dim "
      "64 --no_rope_dim 0 --input_dtype float16 --quant_dtype fp8_e4m3 --rope_scale 1 --rope_theta 10000 "
      "--interleave --page_size 16 --kv_layout NHD --low_freq_factor 1 --high_freq_factor 4 "
      "--old_context_len 8192 "
      "--num_iters 2 --backends cuda";
  const std::string list =
      folder.file("list.txt", attention + shared + no_effect + "\n" + norm + "\n" + rope + "\n");
  const Outcome outcome = test::strobe("bench --flashinfer-output --testlist " + list);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  for (const char* flag :
       {"--no_cuda_graph", "--use_cupti", "--use_cuda_events", "--autotune_cache", "--repro_command",
        "--enable_pdl", "--autotune", "--head_dim_ckv", "--mla_is_var_seq", "--use_global_scale",
        "--dit_mode", "--ppf", "--no_rope_dim", "--quant_dtype"})
    EXPECT_THAT(outcome.err, HasSubstr(std::string("note: ") + flag + " changes nothing: ")) << flag;
  EXPECT_THAT(outcome.err, HasSubstr("--backends fa3: left out"));
}

// Lines as people have them for FlashInfer's benchmark, unchanged.
constexpr const char* kLines[] = {
    "--routine BatchDecodeWithPagedKVCacheWrapper --backends fa2 fa2_tc cudnn trtllm-gen --page_size 16 "
    "--batch_size 1 "
    "--s_qo 1 --s_kv 1024 --num_qo_heads 64 --num_kv_heads 8 --head_dim_qk 128 --head_dim_vo 128 "
    "--random_actual_seq_len -vv --refcheck --q_dtype bfloat16 --kv_dtype bfloat16",
    "--routine BatchDecodeWithPagedKVCacheWrapper --backends auto --page_size 32 --batch_size 16 --s_qo 1 "
    "--s_kv 512 "
    "--num_qo_heads 32 --num_kv_heads 4 --head_dim_qk 64 --head_dim_vo 64 --refcheck "
    "--generate_repro_command",
    "--routine BatchDecodeWithPagedKVCacheWrapper --backends fa2 --page_size 8 --batch_size 4 --s_kv 256 "
    "--num_qo_heads 8 --num_kv_heads 1 --head_dim_qk 128 --head_dim_vo 128 --kv_dtype fp8_e4m3 --refcheck",
    "--routine BatchDecodeWithPagedKVCacheWrapper --backends fa2 --page_size 16 --batch_size 4 --s_qo 4 "
    "--s_kv 256 "
    "--num_qo_heads 8 --num_kv_heads 1 --head_dim_qk 128 --head_dim_vo 128 --spec_dec_mask causal --refcheck",
    "-R BatchDecodeWithPagedKVCacheWrapper --page_size 1 --batch_size 8 --s_kv 128 --num_qo_heads 16 "
    "--num_kv_heads 16 "
    "--head_dim_qk 128 --head_dim_vo 128 --q_dtype float16 --kv_dtype float16 -n 5 -d 1 --no_cuda_graph",
    "--routine BatchPrefillWithPagedKVCacheWrapper --backends fa2 fa3 cudnn --page_size 16 --batch_size 2 "
    "--s_qo 128 "
    "--s_kv 128 --num_qo_heads 8 --num_kv_heads 1 --head_dim_qk 128 --head_dim_vo 128 "
    "--random_actual_seq_len --causal "
    "--refcheck --allow_output_mismatch --q_dtype bfloat16 --kv_dtype bfloat16",
    "--routine BatchPrefillWithPagedKVCacheWrapper --backends auto --page_size 64 --batch_size 1 --s_qo 32 "
    "--s_kv 1024 "
    "--num_qo_heads 32 --num_kv_heads 8 --head_dim_qk 128 --head_dim_vo 128 --causal --case_tag \"chunked "
    "prefill\"",
    "--routine BatchPrefillWithPagedKVCacheWrapper --page_size 16 --batch_size 2 --s_qo 64 --s_kv 64 "
    "--num_qo_heads 4 "
    "--num_kv_heads 4 --head_dim_qk 64 --head_dim_vo 64 --use_cuda_events --refcheck",
    "--routine BatchPrefillWithRaggedKVCacheWrapper --backends fa2 fa3 cutlass cudnn --batch_size 2 --s_qo "
    "64 --s_kv 64 "
    "--num_qo_heads 16 --num_kv_heads 16 --head_dim_qk 192 --head_dim_vo 128 --random_actual_seq_len -vv "
    "--refcheck "
    "--causal --q_dtype bfloat16 --kv_dtype bfloat16 --allow_output_mismatch --generate_repro_command "
    "--case_tag \"DeepSeek-R1\"",
    "--routine BatchPrefillWithRaggedKVCacheWrapper --backends fa3 --batch_size 1 --s_qo 256 --s_kv 256 "
    "--num_qo_heads 8 "
    "--num_kv_heads 8 --head_dim_qk 128 --head_dim_vo 128 --causal --out_dtype bfloat16",
    "--routine rmsnorm --batch_size 32 --hidden_size 4096 --input_dtype bfloat16 --refcheck -vv "
    "--generate_repro_command",
    "--routine rmsnorm --batch_size 64 --num_heads 32 --hidden_size 128 --input_dtype float16 --backends "
    "cuda",
    "--routine fused_add_rmsnorm --batch_size 32 --hidden_size 4096 --input_dtype bfloat16 --refcheck",
    "--routine gemma_rmsnorm --batch_size 8 --hidden_size 2048 --input_dtype bfloat16 --eps 1e-5 --refcheck",
    "--routine gemma_fused_add_rmsnorm --batch_size 8 --hidden_size 2048 --input_dtype float16 --refcheck",
    "--routine rmsnorm_quant --batch_size 32 --hidden_size 4096 --input_dtype bfloat16 --out_dtype fp8_e4m3 "
    "--scale 1.0 "
    "--refcheck -vv --generate_repro_command --case_tag \"rmsnorm_quant_fp8_e4m3\"",
    "--routine fused_add_rmsnorm_quant --batch_size 32 --hidden_size 1024 --out_dtype fp8_e5m2 --scale 0.5 "
    "--refcheck",
    "--routine layernorm_quant --batch_size 16 --hidden_size 1024 --input_dtype bfloat16 --out_dtype "
    "fp8_e4m3 --refcheck",
    "--routine apply_rope --batch_size 4 --seq_len 128 --num_qo_heads 32 --num_kv_heads 8 --head_dim 128 "
    "--input_dtype "
    "bfloat16 --refcheck",
    "--routine apply_rope_pos_ids --batch_size 4 --seq_len 128 --num_qo_heads 32 --num_kv_heads 8 --head_dim "
    "128 "
    "--rotary_dim 64 --interleave --rope_theta 10000.0",
    "--routine apply_llama31_rope --batch_size 2 --seq_len 64 --num_qo_heads 32 --num_kv_heads 8 --head_dim "
    "128 "
    "--rope_scale 8 --rope_theta 500000 --low_freq_factor 1.0 --high_freq_factor 4.0 --old_context_len 8192",
    "--routine apply_llama31_rope_pos_ids --batch_size 2 --seq_len 64 --num_qo_heads 32 --num_kv_heads 8 "
    "--head_dim 128 "
    "--refcheck",
    "--routine apply_rope_with_cos_sin_cache --batch_size 2 --seq_len 64 --num_qo_heads 32 --num_kv_heads 8 "
    "--head_dim "
    "128 --input_dtype bfloat16 --refcheck",
    "python3 flashinfer_benchmark.py --routine rmsnorm --batch_size 1 --hidden_size 8192 --enable_pdl",
};

std::vector<std::string> lines_in(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// Fields of a line of CSV.
std::vector<std::string> csv_fields(const std::string& line) {
  std::vector<std::string> fields(1);
  bool inside = false;
  for (char c : line)
    if (c == '"')
      inside = !inside;
    else if (c == ',' && !inside)
      fields.emplace_back();
    else
      fields.back() += c;
  return fields;
}

std::string csv_value(const std::vector<std::string>& lines, std::size_t row, const std::string& column) {
  const std::vector<std::string> columns = csv_fields(lines.at(0)), fields = csv_fields(lines.at(row));
  EXPECT_EQ(columns.size(), fields.size());
  const auto found = std::find(columns.begin(), columns.end(), column);
  return found == columns.end() ? "no such column"
                                : fields.at(static_cast<std::size_t>(found - columns.begin()));
}

TEST(FlashInferLines, RunUnchanged) {
  static_assert(std::size(kLines) >= 20);
  const Folder folder;
  std::string list = "# the routines that both have\n\n";
  for (const char* line : kLines) list += std::string(line) + "\n";
  const std::string csv = folder.file("out.csv");
  const Outcome outcome = test::strobe("bench --num_iters 3 --flashinfer-output --testlist " +
                                       folder.file("list.txt", list) + " --output_path " + csv);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  std::size_t perf_lines = 0;
  for (const std::string& line : lines_in(outcome.out))
    if (line.starts_with("[PERF] ")) {
      ++perf_lines;
      EXPECT_THAT(line, testing::MatchesRegex(
                            "\\[PERF\\] cpu/[a-z0-9_]+ *:: median time [0-9]+\\.[0-9][0-9][0-9] ms; "
                            "std [0-9.]+ ms; achieved tflops [0-9.]+ TFLOPs/sec; "
                            "achieved tb_per_sec [0-9.]+ TB/sec"));
    } else {
      EXPECT_TRUE(line.starts_with("[INFO] To reproduce")) << line;
    }
  EXPECT_EQ(perf_lines, std::size(kLines));

  const std::vector<std::string> rows = lines_in(test::read_text(csv));
  ASSERT_EQ(rows.size(), std::size(kLines) + 1) << "one header";
  EXPECT_EQ(csv_value(rows, 1, "routine"), "BatchDecodeWithPagedKVCacheWrapper");
  EXPECT_EQ(csv_value(rows, 1, "s_kv"), "1024");
  EXPECT_EQ(csv_value(rows, 1, "q_dtype"), "bfloat16");
  EXPECT_EQ(csv_value(rows, 1, "random_actual_seq_len"), "True");
  EXPECT_EQ(csv_value(rows, 1, "check_result"), "pass");
  EXPECT_EQ(csv_value(rows, 2, "generate_repro_command"), "True");
  EXPECT_THAT(csv_value(rows, 2, "repro_command"), HasSubstr("strobe bench --routine batch_decode_paged"));
  EXPECT_EQ(csv_value(rows, 5, "num_iters"), "5") << "what a line says goes before the command line";
  EXPECT_EQ(csv_value(rows, 5, "no_cuda_graph"), "True");
  EXPECT_EQ(csv_value(rows, 6, "num_iters"), "3");
  EXPECT_EQ(csv_value(rows, 7, "case_tag"), "chunked prefill");
  EXPECT_EQ(csv_value(rows, 11, "hidden_size"), "4096");
  EXPECT_EQ(csv_value(rows, 11, "input_dtype"), "bfloat16");
  EXPECT_EQ(csv_value(rows, 19, "seq_len"), "128");
  for (std::size_t i = 1; i < rows.size(); ++i)
    EXPECT_GT(std::stod(csv_value(rows, i, "median_time")), 0) << i;
}

TEST(FlashInferCsv, ColumnsStandInFlashInfersOrder) {
  const std::vector<std::string_view> columns = flashinfer::csv_columns();
  EXPECT_THAT(std::vector(columns.begin(), columns.begin() + 9),
              ElementsAre("routine", "median_time", "std_time", "tflops", "tb_per_sec", "backend",
                          "resolved_backend", "s_qo", "s_kv"));
  const auto at = [&](std::string_view name) { return std::find(columns.begin(), columns.end(), name); };
  EXPECT_EQ(*(at("repro_command") + 1), "device") << "Strobe's own come after all of FlashInfer's";
  EXPECT_EQ(std::count(columns.begin(), columns.end(), "num_tokens"), 3) << "as FlashInfer has it";
  EXPECT_LT(at("batch_size") - columns.begin(), at("repro_command") - columns.begin());
}

TEST(FlashInferCsv, QuotesWhatHoldsACommaOrAQuote) {
  Row row;
  row.timing.seconds = {1};
  row.options.case_tag = "a, \"b\"";
  EXPECT_THAT(flashinfer::csv_text(std::span(&row, 1)), HasSubstr(",\"a, \"\"b\"\"\","));
}

// A case of Strobe's own stands in the columns that mean the same.
TEST(FlashInferCsv, HoldsStrobesCasesToo) {
  Row row;
  row.timing.seconds = {0.002, 0.004};
  row.routine = "batch_decode_paged";
  row.family = "attention";
  row.backend = "cpu";
  row.isa = "avx2";
  row.threads = 2;
  row.values = parse_case("batch_decode_paged", split_words("--batch_size 3 --kv_len 77 --dtype f16")).values;
  const std::vector<std::string> rows = lines_in(flashinfer::csv_text(std::span(&row, 1)));
  EXPECT_EQ(csv_value(rows, 1, "routine"), "batch_decode_paged");
  EXPECT_EQ(csv_value(rows, 1, "s_kv"), "77");
  EXPECT_EQ(csv_value(rows, 1, "q_dtype"), "float16");
  EXPECT_EQ(csv_value(rows, 1, "batch_size"), "3");
  EXPECT_EQ(csv_value(rows, 1, "median_time"), "3");
  EXPECT_EQ(csv_value(rows, 1, "backend"), "cpu/avx2");
  EXPECT_EQ(csv_value(rows, 1, "random_actual_seq_len"), "False");
}

}  // namespace
}  // namespace strobe::bench
