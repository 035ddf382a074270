// strobe warmup, strobe cache and the CUDA part of strobe doctor, with the stand-in compiler.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "cli/cli.h"
#include "support/tiny_kernel.h"

namespace strobe::cli {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

struct Outcome {
  int status;
  std::string out, err;
};

Outcome strobe(const std::string& line) {
  std::vector<std::string> words;
  std::istringstream stream(line);
  for (std::string word; stream >> word;) words.push_back(word);
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  Outcome outcome;
  outcome.status = run(words);
  std::fflush(stdout);
  outcome.out = testing::internal::GetCapturedStdout();
  outcome.err = testing::internal::GetCapturedStderr();
  return outcome;
}

// Every test is a process of its own under ctest, so it may choose the environment of the library.
class CacheCommand : public ::testing::Test {
 protected:
  CacheCommand() {
    ::setenv("STROBE_CACHE_DIR", folder.path().c_str(), 1);
    ::setenv("STROBE_NVRTC", STROBE_FAKE_NVRTC, 1);
  }
  // Two entries of a kernel that the library does not have.
  void fill() {
    jit::Compiler compiler(jit::tiny_settings(folder.path(), messages));
    compiler.obtain(jit::tiny(2));
    compiler.obtain(jit::tiny(3));
  }
  void damage_one() {
    for (const auto& entry : fs::directory_iterator(folder.path()))
      if (entry.path().extension() == ".cubin") {
        fs::resize_file(entry.path(), 10);
        return;
      }
  }
  std::size_t files() {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()));
  }

  jit::TemporaryFolder folder;
  jit::Messages messages;
};

TEST_F(CacheCommand, ListsAndVerifies) {
  fill();
  EXPECT_THAT(strobe("cache ls").out,
              AllOf(HasSubstr("tiny(kFactor = 3, kWide = false) for sm_90a"), HasSubstr("NVRTC 13.0"),
                    HasSubstr("2 kernels, 16.1 KiB of code")));
  const Outcome whole = strobe("cache verify");
  EXPECT_EQ(whole.status, kOk);
  EXPECT_THAT(whole.out, HasSubstr("2 entries, 0 damaged"));
  damage_one();
  const Outcome damaged = strobe("cache verify");
  EXPECT_EQ(damaged.status, kFailed);
  EXPECT_THAT(damaged.out, AllOf(HasSubstr(".cubin is damaged"), HasSubstr("2 entries, 1 damaged")));
}

TEST_F(CacheCommand, ADirectoryThatIsNotThereIsAnEmptyCache) {
  for (const char* command : {"ls", "verify", "prune", "clear"})
    EXPECT_EQ(strobe(std::string("cache ") + command).status, kOk) << command;
  EXPECT_FALSE(fs::exists(folder.path())) << "looking must not make it";
}

TEST_F(CacheCommand, PruneRemovesWhatThisVersionCannotUse) {
  fill();
  damage_one();
  std::ofstream(folder.path() + "/tmp-1-2-3") << "left behind";
  EXPECT_THAT(strobe("cache prune --keep-other-versions").out,
              HasSubstr("removed 1 entries and 1 incomplete files"));
  EXPECT_EQ(files(), 3u);
  EXPECT_THAT(strobe("cache prune").out, HasSubstr("removed 1 entries and 0 incomplete files"));
  EXPECT_EQ(files(), 0u);
}

TEST_F(CacheCommand, ClearRemovesAllOfOursAndNothingElse) {
  fill();
  std::ofstream(folder.path() + "/notes.txt") << "mine";
  EXPECT_EQ(strobe("cache clear").status, kOk);
  EXPECT_EQ(files(), 1u);
}

TEST_F(CacheCommand, PackMovesTheCache) {
  fill();
  const std::string pack = folder.path("kernels.pack");
  EXPECT_THAT(strobe("cache pack " + pack).out, HasSubstr("2 kernels"));
  strobe("cache clear");
  EXPECT_THAT(strobe("cache unpack " + pack).out, HasSubstr("2 kernels into " + folder.path()));
  EXPECT_EQ(strobe("cache verify").status, kOk);
  fs::resize_file(pack, 2000);
  const Outcome cut = strobe("cache unpack " + pack);
  EXPECT_EQ(cut.status, kUsage);
  EXPECT_THAT(cut.err, HasSubstr("the pack is rejected, nothing of it is used"));
  EXPECT_THAT(strobe("cache unpack " + folder.path("none")).err, HasSubstr("No such file"));
}

TEST_F(CacheCommand, ADirectoryThatOthersMayWriteIsAnError) {
  fill();
  fs::permissions(folder.path(), fs::perms::all);
  for (const char* command :
       {"cache ls", "cache verify", "cache clear", "warmup --suite quick --arch sm_90a"}) {
    const Outcome outcome = strobe(command);
    EXPECT_EQ(outcome.status, kFailed) << command;
    EXPECT_THAT(outcome.err, HasSubstr("may be written by others"));
  }
}

TEST_F(CacheCommand, WarmUpCompilesOnceAndCheckAgrees) {
  const Outcome first = strobe("warmup --suite quick --arch sm_90a,sm_80 --jobs 2");
  EXPECT_EQ(first.status, kOk) << first.out << first.err;
  EXPECT_THAT(first.out, HasSubstr(" 0 in the cache before, 0 failed, 0 not clean"));
  const Outcome again = strobe("warmup --suite quick --arch sm_90a,sm_80 --check");
  EXPECT_EQ(again.status, kOk) << again.out;
  EXPECT_THAT(strobe("warmup --suite quick --arch sm_80").out, HasSubstr("0 compiled, "));
}

TEST_F(CacheCommand, WarmUpTakesArchitecturesFromTheEnvironment) {
  ::setenv("STROBE_CUDA_ARCH_LIST", "8.0;9.0a", 1);
  EXPECT_EQ(strobe("warmup --suite quick").status, kOk);
  ::setenv("STROBE_CUDA_ARCH_LIST", "7.5", 1);
  const Outcome wrong = strobe("warmup --suite quick");
  EXPECT_EQ(wrong.status, kUsage);
  EXPECT_THAT(wrong.err, HasSubstr("architecture '7.5': expected one of sm_80"));
}

TEST_F(CacheCommand, WarmUpRefusesWhatItDoesNotKnow) {
  EXPECT_THAT(strobe("warmup --arch sm_75").err, HasSubstr("architecture 'sm_75': expected one of"));
  EXPECT_THAT(strobe("warmup --suite none --arch sm_80").err, HasSubstr("unknown suite 'none'"));
  EXPECT_EQ(strobe("warmup --jobs 0").status, kUsage);
}

TEST_F(CacheCommand, WarmUpClearsWhatKilledProcessesLeft) {
  fill();
  std::ofstream(folder.path() + "/tmp-1-2-3") << "left behind";
  EXPECT_THAT(strobe("warmup --clear-incomplete --suite quick --arch sm_80").out,
              HasSubstr("removed 1 incomplete files"));
}

TEST_F(CacheCommand, DoctorTellsOfCompilerCacheAndKernels) {
  fill();
  const Outcome text = strobe("doctor");
  EXPECT_THAT(text.out,
              AllOf(HasSubstr("CUDA\n  driver "), HasSubstr("NVRTC    13.0 ("),
                    HasSubstr(folder.path() + ": 2 kernels, 0 incomplete files"), HasSubstr("sm_90a ")));
  const Outcome json = strobe("doctor --json");
  EXPECT_EQ(json.status, kOk);
  const auto report = nlohmann::json::parse(json.out);
  const auto& cuda = report.at("cuda").at("value");
  EXPECT_EQ(cuda.at("cache").at("entries"), 2);
  EXPECT_EQ(cuda.at("nvrtc").at("version"), "13.0");
  EXPECT_EQ(report.at("environment").at("STROBE_CACHE_DIR"), folder.path());
  EXPECT_TRUE(report.at("environment").at("STROBE_DISABLE_JIT").is_null());
}

}  // namespace
}  // namespace strobe::cli
