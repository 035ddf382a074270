#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/env.h"
#include "core/log.h"
#include "op/call.h"
#include "op/declare.h"
#include "strobe/norm.h"
#include "support/sweep.h"

namespace strobe {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST(Env, IntegerNamesVariableRangeAndFinding) {
  setenv("STROBE_NUM_THREADS", "many", 1);
  EXPECT_THAT(test::error_message([] { env::integer(env::Variable::kNumThreads, 1, 1024, 2); }),
              HasSubstr("STROBE_NUM_THREADS: expected an integer in [1, 1024], got 'many'"));
  setenv("STROBE_NUM_THREADS", "2000", 1);
  EXPECT_THROW(env::integer(env::Variable::kNumThreads, 1, 1024, 2), Error);
  setenv("STROBE_NUM_THREADS", "", 1);
  EXPECT_EQ(env::integer(env::Variable::kNumThreads, 1, 1024, 2), 2);
  unsetenv("STROBE_NUM_THREADS");
}

TEST(Env, FindsMisspeltVariables) {
  setenv("STROBE_NUM_THREAD", "3", 1);
  EXPECT_THAT(env::unknown(), testing::Contains("STROBE_NUM_THREAD"));
  unsetenv("STROBE_NUM_THREAD");
  EXPECT_THAT(env::unknown(), Not(testing::Contains("STROBE_NUM_THREAD")));
}

TEST(Env, TableFollowsTheEnumerators) {
  int number = 0;
  for (const env::Entry& entry : env::table())
    EXPECT_EQ(static_cast<int>(entry.variable), number++) << entry.name;
}

class Log : public testing::Test {
 protected:
  Log() : path_(std::filesystem::temp_directory_path() / ("strobe_log_" + std::to_string(getpid()))) {
    std::filesystem::remove(path_);
  }
  ~Log() override {
    log::configure(0, "stdout");
    std::filesystem::remove(path_);
  }
  std::string text() const {
    std::ostringstream content;
    content << std::ifstream(path_).rdbuf();
    return content.str();
  }
  void call_rmsnorm() {
    Tensor x(Dtype::kF32, {2, 4}), weight(Dtype::kF32, {4}), y(Dtype::kF32, {2, 4});
    for (int i = 0; i < 8; ++i) x.as<float>()[i] = static_cast<float>(i);
    x.as<float>()[3] = NAN;
    for (int i = 0; i < 4; ++i) weight.as<float>()[i] = 1;
    rmsnorm({.input = x, .weight = weight, .out = y});
  }
  std::filesystem::path path_;
};

TEST_F(Log, LevelOneNamesTheCall) {
  log::configure(1, path_.string());
  call_rmsnorm();
  EXPECT_THAT(text(), AllOf(HasSubstr("strobe #"), HasSubstr("rmsnorm (cpu)"), Not(HasSubstr("f32[2, 4]"))));
}

TEST_F(Log, LevelThreeShowsOperandsAndAttributes) {
  log::configure(3, path_.string());
  call_rmsnorm();
  EXPECT_THAT(text(), AllOf(HasSubstr("in input: f32[2, 4] cpu"), HasSubstr("out out: f32[2, 4]"),
                            HasSubstr("eps = 1e-06"), Not(HasSubstr("min "))));
}

TEST_F(Log, LevelFiveAddsStatistics) {
  log::configure(5, path_.string());
  call_rmsnorm();
  EXPECT_THAT(text(),
              AllOf(HasSubstr("input: min 0 max 7 mean 3.57143 nan 1 inf 0"), HasSubstr("rmsnorm done")));
}

TEST_F(Log, PercentIBecomesTheProcessId) {
  log::configure(1, path_.string() + "_%i");
  call_rmsnorm();
  const std::string expanded = path_.string() + "_" + std::to_string(getpid());
  EXPECT_TRUE(std::filesystem::exists(expanded));
  std::filesystem::remove(expanded);
}

TEST_F(Log, AnUnwritableDestinationIsNamed) {
  EXPECT_THAT(test::error_message([] { log::configure(1, "/proc/no/such/log"); }),
              AllOf(HasSubstr("STROBE_LOGDEST"), HasSubstr("/proc/no/such/log")));
}

// An operator whose kernel kills the process: its record must be in the file all the same.
struct CrashArgs {
  TensorView input;
};

const op::Operator& crashing_operator() {
  static const op::Operator op =
      op::Declare<CrashArgs>("crash", "test", "Kills the process.")
          .formula("-")
          .function("-")
          .axis("n", 1, "elements")
          .input<&CrashArgs::input>("input", "n", op::kFloats, "anything")
          .cost([](const CrashArgs&, const op::Axes&) { return op::Cost{}; })
          .accuracy([](const CrashArgs&, const op::Axes&, int) { return op::Accuracy{}; })
          .reference([](const CrashArgs&, const op::Axes&, op::Expected&) {})
          .backend(Backend::kCpu, [](const CrashArgs&, const op::Axes&, const Launch&) { _exit(3); })
          .build();
  return op;
}

TEST_F(Log, TheRecordOfACallThatKillsTheProcessIsOnDisk) {
  const pid_t child = fork();
  if (child == 0) {
    log::configure(3, path_.string());
    Tensor x(Dtype::kF32, {5});
    op::call(crashing_operator(), CrashArgs{x}, {});
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 3);
  EXPECT_THAT(text(), AllOf(HasSubstr("crash (cpu)"), HasSubstr("in input: f32[5]")));
}

// At level 5 it is there before the log itself looks at the operands, which may be what kills.
TEST_F(Log, TheRecordOfACallWithABadAddressIsOnDisk) {
  const pid_t child = fork();
  if (child == 0) {
    log::configure(5, path_.string());
    op::call(crashing_operator(), CrashArgs{TensorView(reinterpret_cast<void*>(16), Dtype::kF32, {5})}, {});
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_NE(status, 0);
  EXPECT_NE(WEXITSTATUS(status), 3) << "the kernel was reached";
  EXPECT_THAT(text(),
              AllOf(HasSubstr("crash (cpu)"), HasSubstr("in input: f32[5]"), Not(HasSubstr("reads"))));
}

}  // namespace
}  // namespace strobe
