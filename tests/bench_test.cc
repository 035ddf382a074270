// The benchmark's parts: case lines, rotation, roofline, timing, sessions, output files, workloads.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "bench/case_line.h"
#include "bench/json_report.h"
#include "bench/output_file.h"
#include "bench/roofline.h"
#include "bench/rotation.h"
#include "bench/run_case.h"
#include "bench/text_report.h"
#include "bench/workload_report.h"
#include "bench/workload_run.h"
#include "cpu/cache_info.h"
#include "op/operator.h"
#include "op/validate.h"
#include "ops/attention_args.h"
#include "strobe/norm.h"
#include "strobe/page.h"
#include "support/sweep.h"
#include "support/toy_operator.h"

namespace strobe::bench {
namespace {

using test::declare_toys;
using test::error_message;
using testing::AllOf;
using testing::HasSubstr;
namespace fs = std::filesystem;

std::vector<std::string> words(std::initializer_list<const char*> list) { return {list.begin(), list.end()}; }

// A folder of its own for one test.
class Folder {
 public:
  Folder() : path_(fs::path(testing::TempDir()) / ("strobe_bench_" + std::to_string(getpid()))) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  std::string file(const char* name) const { return (path_ / name).string(); }
  std::size_t entries() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(path_), {}));
  }

 private:
  fs::path path_;
};

std::string read_text(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(CaseLine, TakesValuesInEveryForm) {
  const BenchCase line =
      parse_case("rmsnorm", words({"--num_tokens", "7", "--hidden=16", "--gemma", "--eps", "0.5"}));
  EXPECT_EQ(line.values.integer("num_tokens"), 7);
  EXPECT_EQ(line.values.integer("hidden"), 16);
  EXPECT_TRUE(line.values.flag("gemma"));
  EXPECT_EQ(line.values.text("eps"), "0.5");
  EXPECT_EQ(line.values.text("dtype"), "bf16") << "the default";
  EXPECT_EQ(line.flags, "--num_tokens 7 --hidden=16 --gemma --eps 0.5");
  EXPECT_EQ(parse_case("single_decode", words({"--window_left", "-1"})).values.integer("window_left", -1),
            -1);
}

TEST(CaseLine, NamesWhatIsWrong) {
  EXPECT_THAT(error_message([] { parse_case("no_such", {}); }),
              AllOf(HasSubstr("unknown routine 'no_such'"), HasSubstr("rmsnorm")));
  EXPECT_THAT(error_message([] {
                parse_case("rmsnorm", words({"--tokens", "7"}));
              }),
              AllOf(HasSubstr("rmsnorm: unknown parameter 'tokens'"), HasSubstr("num_tokens")));
  EXPECT_THAT(error_message([] { parse_case("rmsnorm", words({"7"})); }),
              HasSubstr("rmsnorm: expected a flag (--name value), got '7'"));
  EXPECT_THAT(error_message([] {
                parse_case("rmsnorm", words({"--hidden", "8", "--hidden", "9"}));
              }),
              HasSubstr("--hidden is given twice"));
}

TEST(CaseLine, FindsWrongValuesBeforeAnythingRuns) {
  declare_toys();
  const auto message = [](const char* routine, const char* flag, const char* value) {
    return error_message([&] { parse_case(routine, words({flag, value})); });
  };
  EXPECT_THAT(message("toy", "--factor", "11"),
              HasSubstr("toy: factor: expected a value in [-10, 10], got 11"));
  EXPECT_THAT(message("toy", "--rows", "many"), HasSubstr("rows: expected an integer"));
  EXPECT_THAT(message("toy", "--rows", "-1"), HasSubstr("rows: expected an integer of at least 0, got '-1'"));
  EXPECT_THAT(message("rmsnorm", "--dtype", "bf17"),
              HasSubstr("dtype: expected f32, f16 or bf16, got 'bf17'"));
  EXPECT_THAT(message("rmsnorm", "--dtype", "e4m3"),
              HasSubstr("dtype: expected f32, f16 or bf16, got 'e4m3'"));
  EXPECT_THAT(message("rmsnorm", "--gemma", "maybe"),
              HasSubstr("gemma: expected true or false, got 'maybe'"));
  EXPECT_THAT(message("packbits", "--bitorder", "middle"),
              HasSubstr("bitorder: expected one of big, little"));
  EXPECT_THAT(message("batch_decode_paged", "--lengths", "long"), HasSubstr("lengths: expected one of same"));
  EXPECT_THAT(message("append_paged_kv_cache", "--kv_layout", "DNH"),
              HasSubstr("kv_layout: expected one of"));
}

// Whatever the size, no call meets inputs that may still be cached.
TEST(Rotation, CoversTheCaches) {
  constexpr std::size_t kLlc = 32 << 20;
  constexpr double kBetween = 4.0 * kLlc;
  for (double bytes : {0.0, 1.0, 4096.0, 1e6, 3.83e6, 3.84e6, 1.3e8, 1.35e8, 1e10})
    for (int calls : {1, 6, 35, 1000}) {
      const Rotation rotation = plan_rotation(bytes, kLlc, calls);
      ASSERT_GE(rotation.instances, 1);
      EXPECT_LE(rotation.instances, calls);
      const bool reused = rotation.instances < calls;
      if (reused) EXPECT_GE(rotation.instances * bytes, kBetween) << bytes << " " << calls;
      if (rotation.instances * bytes < kBetween)
        EXPECT_GE(static_cast<double>(rotation.evict_bytes), kBetween) << bytes << " " << calls;
    }
}

// One row, on the active level.
Row run_here(const BenchCase& bench_case, const RunOptions& options, const LimitProbe& probe = {}) {
  const cpu::Isa level = cpu::active_isa();
  Progress progress(false);
  return run_case(bench_case, options, std::span(&level, 1), probe, "", progress).front();
}

TEST(Rotation, GivesEveryCallItsInstance) {
  declare_toys();
  RunOptions options;
  options.measure = {.num_iters = 4, .dry_run_iters = 2};
  const LimitProbe probe;
  const BenchCase toy = parse_case("toy", {});
  EXPECT_EQ(run_here(toy, options, probe).instances, 6);
  options.measure.cold = false;
  EXPECT_EQ(run_here(toy, options, probe).instances, 1);
}

constexpr LimitRates kLimits = {
    .dram_read_gbs = 50, .copy_gbs = 80, .fma_gflops = 100, .bf16_dot_gflops = 200};

TEST(Roofline, PricesReadsAndCopiesByTheirLimits) {
  const auto memory = [](double read, double written) {
    return floor_of({}, {.read_bytes = read, .written_bytes = written}, kLimits).seconds;
  };
  EXPECT_DOUBLE_EQ(memory(50e9, 0), 1);
  EXPECT_DOUBLE_EQ(memory(40e9, 40e9), 1);
  EXPECT_GT(memory(60e9, 20e9), 1);
  EXPECT_LT(memory(60e9, 20e9), memory(80e9, 0));
  LimitRates odd = kLimits;
  odd.copy_gbs = 1000;  // would make writing free or better
  EXPECT_DOUBLE_EQ(floor_of({}, {.read_bytes = 0, .written_bytes = 1e9}, odd).seconds, 0);
}

TEST(Roofline, TakesThePeakOfTheArithmetic) {
  const op::Cost bf16 = {.flops = 200e9, .math = Dtype::kBf16}, f32 = {.flops = 200e9, .math = Dtype::kF32};
  EXPECT_DOUBLE_EQ(floor_of(bf16, {}, kLimits).seconds, 1);
  EXPECT_DOUBLE_EQ(floor_of(f32, {}, kLimits).seconds, 2);
  LimitRates no_dot = kLimits;
  no_dot.bf16_dot_gflops = 0;
  EXPECT_DOUBLE_EQ(floor_of(bf16, {}, no_dot).seconds, 2);
  EXPECT_EQ(floor_of(bf16, {.read_bytes = 49e9}, kLimits).bound, Bound::kCompute);
  EXPECT_EQ(floor_of(bf16, {.read_bytes = 51e9}, kLimits).bound, Bound::kMemory);
}

TEST(Roofline, AGpuHasPeaksOfProductsAlone) {
  // A GPU's limits have no FMA peak: its f16 counts as its bf16, and 8-bit floats have their own.
  const LimitRates gpu = {
      .dram_read_gbs = 50, .copy_gbs = 80, .bf16_dot_gflops = 200, .e4m3_dot_gflops = 400};
  for (const auto& [math, seconds] :
       {std::pair{Dtype::kBf16, 10.0}, {Dtype::kF16, 10.0}, {Dtype::kE4m3, 5.0}, {Dtype::kE5m2, 5.0}}) {
    const Floor floor = floor_of({.flops = 2e12, .math = math}, {}, gpu);
    EXPECT_DOUBLE_EQ(floor.seconds, seconds);
    EXPECT_EQ(floor.bound, Bound::kCompute);
  }
  EXPECT_EQ(floor_of({.flops = 2e12, .math = Dtype::kF32}, {}, gpu).bound, Bound::kMemory);
  LimitRates no_fp8 = gpu;
  no_fp8.e4m3_dot_gflops = 0;
  EXPECT_DOUBLE_EQ(floor_of({.flops = 2e12, .math = Dtype::kE4m3}, {}, no_fp8).seconds, 10);
}

TEST(Roofline, LargerOfEachRate) {
  const LimitRates other = {.dram_read_gbs = 60, .copy_gbs = 70, .fma_gflops = 90, .bf16_dot_gflops = 210};
  const LimitRates both = larger(kLimits, other);
  EXPECT_EQ(both.dram_read_gbs, 60);
  EXPECT_EQ(both.copy_gbs, 80);
  EXPECT_EQ(both.fma_gflops, 100);
  EXPECT_EQ(both.bf16_dot_gflops, 210);
}

Traffic traffic_of_routine(const char* name, std::initializer_list<const char*> flags) {
  const BenchCase line = parse_case(name, words(flags));
  op::Random random(1);
  const op::Problem problem = line.routine.routine.make(*line.routine.op, line.values, random);
  return traffic_of(*problem.op, problem.args.get(), problem.op->cost(problem.args.get(), problem.axes));
}

TEST(Roofline, SplitsTrafficByRoles) {
  constexpr double kRows = 64 * 4096 * 2.0;  // bytes of 64 bf16 rows
  const Traffic norm = traffic_of_routine("rmsnorm", {"--num_tokens", "64"});
  EXPECT_DOUBLE_EQ(norm.written_bytes, kRows);
  EXPECT_DOUBLE_EQ(norm.read_bytes, kRows + 4096 * 2);
  EXPECT_DOUBLE_EQ(norm.touched_bytes, norm.read_bytes + norm.written_bytes);
  const Traffic fused = traffic_of_routine("fused_add_rmsnorm", {"--num_tokens", "64"});
  EXPECT_DOUBLE_EQ(fused.written_bytes, 2 * kRows) << "input and residual, in place";
  EXPECT_DOUBLE_EQ(fused.touched_bytes, 2 * kRows + 4096 * 2) << "the same memory is read and written";
}

TEST(Roofline, AppendWritesItsTokensOnly) {
  const Traffic append = traffic_of_routine("append_paged_kv_cache", {"--nnz", "64"});
  constexpr double kTokens = 2 * 64 * 8 * 128 * 2.0;  // k and v of 64 tokens in bf16
  EXPECT_NEAR(append.written_bytes, kTokens, 0.05 * kTokens);
  EXPECT_GE(append.read_bytes, 0.95 * kTokens);
}

TEST(Roofline, DecodeIsPureReading) {
  const Traffic decode = traffic_of_routine("batch_decode_paged", {"--batch_size", "2", "--kv_len", "512"});
  constexpr double kCache = 2 * 512 * 2 * 8 * 128 * 2.0;
  EXPECT_GE(decode.read_bytes, kCache);
  EXPECT_LT(decode.written_bytes, 0.05 * kCache);
}

TEST(LimitProbe, MeasuresEveryRate) {
  const LimitRates rates = LimitProbe().measure();
  EXPECT_GT(rates.dram_read_gbs, 0.1);
  EXPECT_GT(rates.copy_gbs, 0.1);
  EXPECT_GT(rates.fma_gflops, 0.1);
}

Row run_toy(const char* name, std::initializer_list<const char*> flags = {}) {
  declare_toys();
  RunOptions options;
  options.measure = {.num_iters = 2, .dry_run_iters = 1};
  options.refcheck = true;
  return run_here(parse_case(name, words(flags)), options);
}

TEST(RunCase, ChecksAgainstTheReference) {
  const Row right = run_toy("toy");
  ASSERT_TRUE(right.check);
  EXPECT_TRUE(right.check->passed) << right.check->worst;
  EXPECT_GE(right.check->elements, 64 * 8);
  const Row wrong = run_toy("wrong_toy");
  EXPECT_TRUE(wrong.failed());
  EXPECT_THAT(wrong.check->worst, HasSubstr("out["));
  EXPECT_THAT(row_text(wrong), AllOf(HasSubstr("FAIL"), HasSubstr(wrong.check->worst)));
}

TEST(RunCase, SaysWhichCaseIsWrong) {
  EXPECT_THAT(error_message([] {
                run_here(parse_case("single_decode", words({"--num_qo_heads", "3"})), {});
              }),
              AllOf(HasSubstr("single_decode --num_qo_heads 3: "), HasSubstr("num_kv_heads")));
}

TEST(RunCase, PlansAndTimesThePlan) {
  RunOptions options;
  options.measure = {.num_iters = 2, .dry_run_iters = 1};
  options.refcheck = true;
  const BenchCase decode = parse_case("batch_decode_paged", words({"--batch_size", "2", "--kv_len", "70"}));
  const Row row = run_here(decode, options);
  ASSERT_TRUE(row.plan_seconds);
  EXPECT_GT(*row.plan_seconds, 0);
  EXPECT_FALSE(row.failed()) << row.check->worst;
  EXPECT_FALSE(run_toy("toy").plan_seconds);
}

TEST(RunCase, LevelsTakeTurnsAndAreCheckedEach) {
  RunOptions options;
  options.measure = {.num_iters = 4, .dry_run_iters = 1};
  options.refcheck = true;
  Progress progress(false);
  const cpu::Isa before = cpu::active_isa();
  const std::vector<cpu::Isa> levels = test::isa_levels();
  const BenchCase decode = parse_case("batch_decode_paged", words({"--batch_size", "2", "--kv_len", "70"}));
  const std::vector<Row> rows = run_case(decode, options, levels, LimitProbe(), "", progress);
  ASSERT_EQ(rows.size(), levels.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i].isa, cpu::name(levels[i]));
    EXPECT_EQ(rows[i].timing.seconds.size(), 4u);
    EXPECT_EQ(rows[i].instances, 5 * static_cast<int>(levels.size()))
        << "an instance for each call of each level";
    EXPECT_TRUE(rows[i].plan_seconds);
    ASSERT_TRUE(rows[i].check);
    EXPECT_TRUE(rows[i].check->passed) << rows[i].check->worst;
    EXPECT_THAT(rows[i].repro, HasSubstr("--isa " + rows[i].isa));
  }
  EXPECT_EQ(cpu::active_isa(), before);
}

// A case whose calls note on which levels they were planned and run.
BenchCase planned_toy() {
  BenchCase one = parse_case("toy", {});
  one.routine.routine.make = [](const op::Operator& toy, const op::Case& values, op::Random& random) {
    op::Problem problem = op::routines_of(toy).front().make(toy, values, random);
    auto planned = std::make_shared<cpu::Isa>();
    problem.plan = [planned] { *planned = cpu::active_isa(); };
    problem.run = [planned, run = problem.run] {
      EXPECT_EQ(cpu::name(*planned), cpu::name(cpu::active_isa()));
      run();
    };
    return problem;
  };
  return one;
}

TEST(RunCase, PlansHoldForTheLevelThatRuns) {
  declare_toys();
  RunOptions options;
  options.measure = {.num_iters = 2, .dry_run_iters = 1};
  options.refcheck = true;
  Progress progress(false);
  const std::vector<cpu::Isa> all = test::isa_levels();
  std::vector<std::vector<cpu::Isa>> lists = {all};
  for (cpu::Isa level : all) lists.push_back({level});
  for (const std::vector<cpu::Isa>& levels : lists)
    EXPECT_EQ(run_case(planned_toy(), options, levels, LimitProbe(), "", progress).size(), levels.size());
}

TEST(JsonReport, RowsHaveTheFieldsOfTheSchema) {
  const Json row = json_of(run_toy("wrong_toy", {"--rows", "70"}));
  for (const char* field : {"routine", "backend", "device", "isa", "threads", "case", "median_ms", "min_ms",
                            "std_ms", "num_iters", "outliers", "tflops", "tb_per_sec", "roofline_bound",
                            "roofline_fraction", "refcheck", "max_abs_err", "max_rel_err", "repro"})
    EXPECT_TRUE(row.contains(field)) << field;
  EXPECT_EQ(row["routine"], "wrong_toy");
  EXPECT_EQ(row["backend"], "cpu");
  EXPECT_EQ(row["refcheck"], "fail");
  EXPECT_TRUE(row.contains("refcheck_message"));
  EXPECT_EQ(row["case"], (Json{{"rows", 70}, {"columns", 8}, {"factor", 2}}));
  EXPECT_EQ(row["roofline_bound"], "memory");
  EXPECT_NEAR(row["max_rel_err"].get<double>(), 0.005, 0.006);
  EXPECT_NEAR(row["tb_per_sec"].get<double>() * row["median_ms"].get<double>() * 1e9, 70 * 8 * 4 * 2, 1);
  EXPECT_THAT(row["repro"].get<std::string>(),
              AllOf(HasSubstr("strobe bench --routine wrong_toy --rows 70 --device cpu --isa "),
                    HasSubstr("--num_iters 2 --dry_run_iters 1 --random_seed 42 --refcheck")));
}

TEST(OutputFile, AppearsWhole) {
  const Folder folder;
  const OutputFile output(folder.file("out.json"));
  EXPECT_EQ(folder.entries(), 0u) << "nothing before the results are there";
  output.write("first");
  EXPECT_EQ(read_text(folder.file("out.json")), "first");
  output.write("second");
  EXPECT_EQ(read_text(folder.file("out.json")), "second");
  EXPECT_EQ(folder.entries(), 1u) << "no temporary file is left";
}

TEST(OutputFile, FollowsLinksAndWritesDevices) {
  const Folder folder;
  std::ofstream(folder.file("target")) << "old";
  fs::create_symlink(folder.file("target"), folder.file("link"));
  OutputFile(folder.file("link")).write("new");
  EXPECT_EQ(read_text(folder.file("target")), "new");
  EXPECT_TRUE(fs::is_symlink(folder.file("link")));
  OutputFile("/dev/null").write("gone");
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
}

TEST(OutputFile, SaysAtOnceWhatCannotBeWritten) {
  const Folder folder;
  EXPECT_THAT(error_message([&] { OutputFile(folder.file("no/such/folder.json")); }),
              AllOf(HasSubstr("folder.json"), HasSubstr("cannot be written")));
  EXPECT_THAT(error_message([&] { OutputFile(folder.file("")); }), HasSubstr("directory"));
}

WorkloadPlan small_workload(std::initializer_list<const char*> more) {
  std::vector<std::string> flags =
      words({"--steps", "6", "--skip_steps", "3", "--num_pages", "400", "--token_budget", "160",
             "--max_batch", "16", "--model", "llama-3.1-70b-tp8"});
  flags.insert(flags.end(), more.begin(), more.end());
  return plan_workload("azure-conv", "", flags, 7);
}

TEST(Workload, RunsAndChecksEveryOperator) {
  Progress progress(false);
  const LimitProbe probe;
  for (const char* dtype : {"bf16", "f32"}) {
    const WorkloadResult result =
        run_workload(small_workload({"--dtype", dtype, "--rate", "0"}), true, probe, progress);
    EXPECT_EQ(result.summary.steps, 6);
    EXPECT_EQ(result.steps.size(), 6u);
    ASSERT_TRUE(result.check);
    EXPECT_TRUE(result.check->passed) << result.check->worst;
    EXPECT_GE(result.checked_steps, 2);
    EXPECT_GT(result.fraction(), 0);
    const Json json = json_of(result);
    EXPECT_EQ(json["refcheck"], "pass");
    EXPECT_EQ(json["steps"].size(), 6u);
    EXPECT_GT(json["tokens_per_s"].get<double>(), 0);
    EXPECT_THAT(workload_text(result, true), AllOf(HasSubstr("tokens/s"), HasSubstr("pass"),
                                                   HasSubstr("--workload azure-conv --steps 6")));
  }
}

TEST(Workload, KeepsWhatWasFinishedWhenStopped) {
  const LimitProbe probe;
  int steps = 0;
  Progress progress(false, [&] { return ++steps > 4; });  // one of them is for making the cache
  const WorkloadResult result = run_workload(small_workload({"--rate", "0"}), false, probe, progress);
  EXPECT_TRUE(result.stopped);
  EXPECT_EQ(result.steps.size(), 3u);
  EXPECT_EQ(result.summary.steps, 3);
  EXPECT_GT(result.fraction(), 0);
  Progress at_once(false, [] { return true; });
  EXPECT_THROW(run_workload(small_workload({}), false, probe, at_once), Stopped);
}

TEST(Workload, IsTheSameOnEveryMachine) {
  Progress progress(false);
  const LimitProbe probe;
  const WorkloadResult a = run_workload(small_workload({}), false, probe, progress),
                       b = run_workload(small_workload({}), false, probe, progress);
  ASSERT_EQ(a.steps.size(), b.steps.size());
  for (std::size_t i = 0; i < a.steps.size(); ++i) {
    EXPECT_EQ(a.steps[i].num_tokens, b.steps[i].num_tokens);
    EXPECT_EQ(a.steps[i].pages_in_use, b.steps[i].pages_in_use);
  }
}

TEST(Workload, NamesWhatIsWrong) {
  const auto message = [](std::initializer_list<const char*> flags) {
    return error_message([&] { plan_workload("azure-conv", "", words(flags), 1); });
  };
  EXPECT_THAT(message({"--model", "gpt-0"}),
              AllOf(HasSubstr("model: expected one of llama-3.1-8b"), HasSubstr("gpt-0")));
  EXPECT_THAT(message({"--steps", "0"}), HasSubstr("steps: expected an integer of at least 1"));
  EXPECT_THAT(message({"--rate", "-1"}), HasSubstr("rate: expected a number above 0"));
  EXPECT_THAT(message({"--kv_layout", "DNH"}), HasSubstr("kv_layout: expected HND or NHD, got 'DNH'"));
  EXPECT_THAT(message({"--nope", "1"}), HasSubstr("workload: unknown parameter 'nope'"));
  EXPECT_THAT(error_message([] { plan_workload("azure", "", {}, 1); }), HasSubstr("azure-conv, azure-code"));
}

TEST(Workload, ReadsRequestFiles) {
  const Folder folder;
  std::ofstream(folder.file("good.csv")) << "TIMESTAMP,ContextTokens,GeneratedTokens\n0,40,3\n0.01,30,4\n";
  Progress progress(false);
  const LimitProbe probe;
  const auto plan = [&](const char* file, const char* skip) {
    return plan_workload("", folder.file(file), words({"--skip_steps", skip, "--num_pages", "16"}), 1);
  };
  const WorkloadResult result = run_workload(plan("good.csv", "0"), true, probe, progress);
  EXPECT_EQ(result.summary.tokens, 40 + 2 + 30 + 3);
  EXPECT_TRUE(result.check->passed) << result.check->worst;
  EXPECT_THAT(result.repro, HasSubstr("--requests " + folder.file("good.csv")));
  EXPECT_THAT(error_message([&] { run_workload(plan("good.csv", "300"), false, probe, progress); }),
              HasSubstr("skip_steps: expected fewer than"));
  std::ofstream(folder.file("bad.csv")) << "TIMESTAMP,ContextTokens,GeneratedTokens\n0,40,3\n1,many,4\n";
  EXPECT_THAT(error_message([&] { plan("bad.csv", "0"); }),
              AllOf(HasSubstr("bad.csv"), HasSubstr("line 3, column 2")));
  EXPECT_THAT(error_message([&] { plan("missing.csv", "0"); }), HasSubstr("missing.csv"));
}

}  // namespace
}  // namespace strobe::bench
