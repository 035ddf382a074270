// Level 10 of the call log, and the replay of what it keeps.
#include "op/call_dump.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <sstream>

#include "cli/cli.h"
#include "core/log.h"
#include "op/call.h"
#include "op/call_replay.h"
#include "op/declare.h"
#include "op/random.h"
#include "strobe/attention.h"
#include "strobe/norm.h"
#include "support/sweep.h"

namespace strobe {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

class Dump : public testing::Test {
 protected:
  Dump() : root_(fs::temp_directory_path() / ("strobe_dump_" + std::to_string(getpid()))) {
    fs::remove_all(root_);
    fs::create_directories(root_);
    setenv("STROBE_DUMP_DIR", folder().c_str(), 1);
    log::configure(10, (root_ / "log").string());
  }
  ~Dump() override {
    log::configure(0, "stdout");
    for (const char* name : {"DIR", "INCLUDE", "EXCLUDE", "MAX_COUNT", "MAX_SIZE_GB"})
      unsetenv(("STROBE_DUMP_" + std::string(name)).c_str());
    fs::remove_all(root_);
  }

  std::string folder() const { return (root_ / "dumps").string(); }
  std::string log_text() const {
    std::ostringstream content;
    content << std::ifstream(root_ / "log").rdbuf();
    return content.str();
  }
  std::size_t dumped() const {
    if (!fs::exists(folder())) return 0;
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(folder()), fs::directory_iterator()));
  }
  // The only call that there is, made again without a log of its own.
  op::ReplayResult replay_only(op::DumpedCall& call) {
    log::configure(0, "stdout");
    const std::vector<std::string> folders = op::find_dumped_calls(folder());
    EXPECT_EQ(folders.size(), 1u);
    call = op::load_dumped_call(folders.front());
    return op::replay(call, {});
  }

  fs::path root_;
};

// Rows of a wider tensor, normalised in place.
void call_rmsnorm_in_place() {
  op::Random random(1);
  const Tensor memory(Dtype::kBf16, {5, 100}), weight(Dtype::kBf16, {70});
  op::fill_normal(memory, random);
  op::fill_normal(weight, random);
  const TensorView rows = memory.view().slice(1, 10, 80);
  rmsnorm({.input = rows, .weight = weight, .out = rows, .eps = 1e-5f});
}

TEST_F(Dump, AnInPlaceCallWithStridesGivesTheSameBitsAgain) {
  call_rmsnorm_in_place();
  op::DumpedCall call;
  const op::ReplayResult result = replay_only(call);
  EXPECT_TRUE(call.completed);
  EXPECT_TRUE(*result.same_bits);
  EXPECT_TRUE(result.against_dump->passed) << result.against_dump->worst;
  EXPECT_TRUE(result.against_fp64->passed) << result.against_fp64->worst;
  const void* args = call.problem.args.get();
  const TensorView& input = call.op->operands[0].of(args);
  const TensorView& out = call.op->operands[static_cast<std::size_t>(call.op->operand("out"))].of(args);
  EXPECT_EQ(input.strides[0], 100);
  EXPECT_EQ(input.data, out.data);
}

TEST_F(Dump, AnotherResultThanTheDumpedOneIsFound) {
  call_rmsnorm_in_place();
  const std::string path = op::find_dumped_calls(folder()).front() + "outputs.safetensors";
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-1, std::ios::end);
  file.put('\x41');  // the upper byte of a bf16: 8 to 32
  file.close();
  op::DumpedCall call;
  const op::ReplayResult result = replay_only(call);
  EXPECT_FALSE(*result.same_bits);
  EXPECT_FALSE(result.against_dump->passed);
  EXPECT_THAT(result.against_dump->worst, HasSubstr("out[4, 69]"));
  EXPECT_TRUE(result.against_fp64->passed);
}

TEST_F(Dump, ARunOfAPlanNeedsNothingOfTheCallersIndexArrays) {
  op::Random random(2);
  const Tensor q(Dtype::kF32, {3, 4, 16}), k(Dtype::kF32, {6, 4, 2, 16}), v(Dtype::kF32, {6, 4, 2, 16});
  const Tensor out(Dtype::kF32, {3, 4, 16}), lse(Dtype::kF32, {3, 4});
  for (const Tensor* input : {&q, &k, &v}) op::fill_normal(*input, random);
  std::vector<std::int32_t> qo_indptr = {0, 1, 3}, kv_indptr = {0, 2, 5}, kv_indices = {5, 1, 0, 4, 2},
                            last_page_len = {3, 1};
  BatchAttention attention;
  AttentionPlanArgs plan;
  plan.qo_indptr = TensorView::of(qo_indptr);
  plan.kv_indptr = TensorView::of(kv_indptr);
  plan.kv_indices = TensorView::of(kv_indices);
  plan.last_page_len = TensorView::of(last_page_len);
  plan.num_qo_heads = 4;
  plan.num_kv_heads = 2;
  plan.head_dim_qk = 16;
  plan.page_size = 4;
  plan.kv_layout = KvLayout::kNhd;
  plan.q_dtype = plan.kv_dtype = Dtype::kF32;
  plan.options.mask = MaskMode::kCausal;
  plan.options.logits_soft_cap = 30;
  setenv("STROBE_DUMP_MAX_COUNT", "0", 1);  // of the plan no dump
  attention.plan(plan);
  unsetenv("STROBE_DUMP_MAX_COUNT");
  for (auto* array : {&qo_indptr, &kv_indptr, &kv_indices, &last_page_len})
    std::fill(array->begin(), array->end(), -1);
  attention.run({.q = q, .k = k, .v = v, .out = out, .lse = lse});
  op::DumpedCall call;
  const op::ReplayResult result = replay_only(call);
  EXPECT_EQ(call.op->name, "batch_attention_paged");
  EXPECT_TRUE(*result.same_bits);
  EXPECT_TRUE(result.against_fp64->passed) << result.against_fp64->worst;
}

// Kills the process after half of the work.
struct CrashArgs {
  TensorView input, out;
};

const op::Operator& crashing_operator() {
  static const op::Operator op =
      op::Declare<CrashArgs>("crash", "test", "Kills the process that has STROBE_TEST_CRASH.")
          .formula("out = input")
          .function("-")
          .axis("n", 1, "elements")
          .input<&CrashArgs::input>("input", "n", Dtype::kF32, "anything")
          .output<&CrashArgs::out>("out", "n", Dtype::kF32, "the same")
          .cost([](const CrashArgs&, const op::Axes&) { return op::Cost{}; })
          .accuracy([](const CrashArgs&, const op::Axes&, int) { return op::Accuracy{}; })
          .reference([](const CrashArgs& args, const op::Axes&, op::Expected& expected) {
            for (std::size_t i = 0; i < expected[0].values.size(); ++i)
              expected[0].values[i] = static_cast<double>(args.input.as<float>()[expected[0].rows[i]]);
          })
          .backend(Backend::kCpu,
                   [](const CrashArgs& args, const op::Axes&, const Launch&) {
                     if (std::getenv("TEST_CRASH") != nullptr) _exit(3);
                     std::copy_n(args.input.as<float>(), args.input.size(), args.out.as<float>());
                   })
          .build();
  return op;
}

TEST_F(Dump, TheCallThatKillsTheProcessIsKept) {
  op::registry().add(crashing_operator());
  const pid_t child = fork();
  if (child == 0) {
    setenv("TEST_CRASH", "1", 1);
    const Tensor x(Dtype::kF32, {5}), y(Dtype::kF32, {5});
    std::iota(x.as<float>(), x.as<float>() + 5, 1.0f);
    op::call(crashing_operator(), CrashArgs{x, y}, {});
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_EQ(WEXITSTATUS(status), 3);
  op::DumpedCall call;
  const op::ReplayResult result = replay_only(call);
  EXPECT_FALSE(call.completed);
  EXPECT_FALSE(result.same_bits.has_value());
  EXPECT_TRUE(result.against_fp64->passed) << result.against_fp64->worst;
  EXPECT_EQ(static_cast<const CrashArgs*>(call.problem.args.get())->input.as<float>()[4], 5);
}

TEST_F(Dump, PatternsChooseTheOperators) {
  setenv("STROBE_DUMP_INCLUDE", "batch_*,*norm", 1);
  call_rmsnorm_in_place();
  EXPECT_EQ(dumped(), 1u);
  setenv("STROBE_DUMP_EXCLUDE", "rms*", 1);
  call_rmsnorm_in_place();
  EXPECT_EQ(dumped(), 1u);
  setenv("STROBE_DUMP_INCLUDE", "batch_*", 1);
  unsetenv("STROBE_DUMP_EXCLUDE");
  call_rmsnorm_in_place();
  EXPECT_EQ(dumped(), 1u);
}

TEST_F(Dump, LimitsAreSaidInTheLog) {
  setenv("STROBE_DUMP_MAX_COUNT", "0", 1);
  call_rmsnorm_in_place();
  EXPECT_THAT(log_text(), HasSubstr("rmsnorm: not dumped: STROBE_DUMP_MAX_COUNT = 0 is reached"));
  setenv("STROBE_DUMP_MAX_COUNT", "1000", 1);
  setenv("STROBE_DUMP_MAX_SIZE_GB", "0.000001", 1);
  call_rmsnorm_in_place();
  EXPECT_THAT(log_text(), HasSubstr("would exceed STROBE_DUMP_MAX_SIZE_GB = 1e-06"));
  EXPECT_EQ(dumped(), 0u);
  setenv("STROBE_DUMP_MAX_SIZE_GB", "much", 1);
  EXPECT_THAT(test::error_message(call_rmsnorm_in_place),
              HasSubstr("STROBE_DUMP_MAX_SIZE_GB: expected a number"));
}

TEST_F(Dump, ACallSucceedsWhereItsDumpCannotBeWritten) {
  setenv("STROBE_DUMP_DIR", (root_ / "log").c_str(), 1);  // a file
  call_rmsnorm_in_place();
  EXPECT_THAT(log_text(), AllOf(HasSubstr("rmsnorm: not dumped: "), HasSubstr("rmsnorm done")));
}

TEST_F(Dump, LowerLevelsKeepNothing) {
  log::configure(5, (root_ / "log").string());
  call_rmsnorm_in_place();
  EXPECT_EQ(dumped(), 0u);
}

struct Outcome {
  int status;
  std::string out, err;
};
Outcome strobe(const std::vector<std::string>& words) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  Outcome outcome{cli::run(words), "", ""};
  std::fflush(stdout);
  outcome.out = testing::internal::GetCapturedStdout();
  outcome.err = testing::internal::GetCapturedStderr();
  return outcome;
}

TEST_F(Dump, TheCommandReplaysAFolderAndOneCall) {
  call_rmsnorm_in_place();
  call_rmsnorm_in_place();
  log::configure(0, "stdout");
  Outcome outcome = strobe({"replay", folder()});
  EXPECT_EQ(outcome.status, cli::kOk) << outcome.err;
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("rmsnorm_call"), HasSubstr("against the dump: the same bits"),
                    HasSubstr("against FP64: pass"), HasSubstr("2 calls replayed on cpu, 0 failed")));
  const std::string one = op::find_dumped_calls(folder()).front();
  EXPECT_THAT(strobe({"replay", one}).out, HasSubstr("1 calls replayed"));
  fs::remove(one + "inputs.safetensors");
  outcome = strobe({"replay", folder()});
  EXPECT_EQ(outcome.status, cli::kFailed);
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("inputs.safetensors"), HasSubstr("1 failed")));
}

TEST_F(Dump, TheCommandNamesWhatItCannotRead) {
  EXPECT_THAT(strobe({"replay", (root_ / "nowhere").string()}).err, HasSubstr("nowhere: cannot be read"));
  EXPECT_THAT(strobe({"replay", root_.string()}).err, HasSubstr("expected dumped calls"));
  call_rmsnorm_in_place();
  log::configure(0, "stdout");
  const std::string one = op::find_dumped_calls(folder()).front();
  EXPECT_THAT(strobe({"replay", one, "--device", "tpu"}).err, HasSubstr("--device: expected cpu"));
  const auto with_description = [&](const std::string& text) {
    std::ofstream(one + "call.json") << text;
    return strobe({"replay", one}).out;
  };
  EXPECT_THAT(with_description("{"), HasSubstr("call.json: is damaged: no JSON object"));
  EXPECT_THAT(with_description(R"({"format":7})"), HasSubstr("expected format 1, got 7"));
  EXPECT_THAT(with_description(R"({"format":1,"operator":"nothing","phase":"run"})"),
              HasSubstr("this library has no operator 'nothing'"));
  EXPECT_THAT(
      with_description(
          R"({"format":1,"operator":"rmsnorm","phase":"run","attributes":{},"operands":[{"name":"x"}]})"),
      HasSubstr("names what the operator does not have"));
}

}  // namespace
}  // namespace strobe
