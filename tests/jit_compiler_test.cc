// Compiles on demand: sharing among threads and processes, crashes in the middle, and what the errors say.
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <filesystem>
#include <random>
#include <thread>

#include "cuda/toolkit.h"
#include "jit/compiler.h"
#include "jit/sha256.h"
#include "strobe/error.h"
#include "support/tiny_kernel.h"

namespace strobe::jit {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class JitCompiler : public ::testing::Test {
 protected:
  ~JitCompiler() override {
    ::unsetenv("FAKE_NVRTC_MS");
    ::unsetenv("FAKE_NVRTC_COUNT");
  }
  void compiles_take(int milliseconds) { ::setenv("FAKE_NVRTC_MS", std::to_string(milliseconds).c_str(), 1); }
  void count_compiles() { ::setenv("FAKE_NVRTC_COUNT", folder.path("count").c_str(), 1); }
  std::uintmax_t compiles() {
    std::error_code error;
    const std::uintmax_t bytes = fs::file_size(folder.path("count"), error);
    return error ? 0 : bytes;
  }
  CompilerSettings settings() { return tiny_settings(folder.path(), messages); }

  // Runs `work` in a child process; its exit status is 0 when nothing was thrown.
  template <class F>
  pid_t in_child(F work) {
    const pid_t child = ::fork();
    if (child != 0) return child;
    int status = 0;
    try {
      work();
    } catch (...) {
      status = 1;
    }
    ::_exit(status);
  }
  static int exit_status(pid_t child) {
    int status = -1;
    return ::waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  template <class F>
  void expect_error(ErrorKind kind, F call, const ::testing::Matcher<const std::string&>& message) {
    try {
      call();
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind);
      EXPECT_THAT(error.what(), message);
    }
  }

  TemporaryFolder folder;
  Messages messages;
};

TEST_F(JitCompiler, ErrorNamesKernelConstantsArchitectureDiagnosticAndKeptSource) {
  Compiler compiler(settings());
  const Variant broken{&kBroken, {3, 1}, cuda::Architecture::kSm80};
  const std::string kept = folder.path() + "/failed-broken-" + compiler.source_key(broken) + "-13.0";
  expect_error(
      ErrorKind::kCompile, [&] { compiler.obtain(broken); },
      AllOf(HasSubstr("broken(kFactor = 3, kWide = true) for sm_80 does not compile (NVRTC 13.0): "
                      "test.cuh(3): error: #error directive: on purpose"),
            HasSubstr("the source is kept in " + kept + ".cu")));
  std::string source, log;
  ASSERT_EQ(file_system().read(kept + ".cu", source), 0);
  ASSERT_EQ(file_system().read(kept + ".log", log), 0);
  EXPECT_EQ(source, translation_unit(broken));
  EXPECT_THAT(log, HasSubstr("1 error detected"));
  expect_error(
      ErrorKind::kCompile, [&] { compiler.obtain(broken); }, HasSubstr("on purpose"));
}

TEST_F(JitCompiler, DisabledItServesTheCacheAndNamesWhatIsMissing) {
  CompilerSettings disabled = settings();
  disabled.may_compile = false;
  expect_error(
      ErrorKind::kUnsupported, [&] { Compiler(disabled).obtain(tiny(2)); },
      AllOf(HasSubstr("tiny(kFactor = 2, kWide = false) for sm_90a is not in the kernel cache"),
            HasSubstr("STROBE_DISABLE_JIT"), HasSubstr("strobe warmup --arch sm_90a")));
  Compiler(settings()).obtain(tiny(2));
  EXPECT_FALSE(Compiler(disabled).obtain(tiny(2))->compiled);
}

TEST_F(JitCompiler, WithoutNvrtcTheCacheServesAndTheErrorSaysWhereItWasSearched) {
  static const Nvrtc& none = *new Nvrtc("/nonexistent/libnvrtc.so.13");
  CompilerSettings without = settings();
  without.nvrtc = []() -> const Nvrtc& { return none; };
  expect_error(
      ErrorKind::kUnsupported, [&] { Compiler(without).obtain(tiny(2)); },
      AllOf(HasSubstr("cannot be compiled: no usable NVRTC"), HasSubstr("/nonexistent/libnvrtc.so.13"),
            HasSubstr("STROBE_NVRTC")));
  Compiler(settings()).obtain(tiny(2));
  EXPECT_FALSE(Compiler(without).obtain(tiny(2))->compiled);
}

TEST_F(JitCompiler, AnNvrtcThatIsTooOldForTheArchitecture) {
  expect_error(
      ErrorKind::kUnsupported,
      [&] { Compiler(settings()).obtain(tiny(2, false, cuda::Architecture::kSm120a)); },
      AllOf(HasSubstr("NVRTC 13.0 ("), HasSubstr("does not compile for sm_120a")));
}

TEST_F(JitCompiler, ALibraryThatIsNoNvrtc) {
  const Nvrtc other("libc.so.6");
  EXPECT_THAT(other.status().problem, HasSubstr("no usable NVRTC"));
}

TEST_F(JitCompiler, NothingIsCompiledWhereTheCallerForbidsIt) {
  Compiler compiler(settings());
  expect_error(
      ErrorKind::kUnsupported, [&] { compiler.obtain(tiny(2), {.no_compile = "a graph is being captured"}); },
      HasSubstr("is not in the kernel cache, and a graph is being captured"));
  compiler.obtain(tiny(2));
  EXPECT_FALSE(compiler.obtain(tiny(2), {.no_compile = "a graph is being captured"})->compiled);
}

TEST_F(JitCompiler, ThreadsShareOneCompile) {
  compiles_take(100);
  count_compiles();
  Compiler compiler(settings());
  constexpr int kThreads = 8;
  std::barrier together(kThreads);
  std::vector<std::shared_ptr<const Binary>> binaries(kThreads);
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kThreads; ++i)
      threads.emplace_back([&, i] {
        together.arrive_and_wait();
        binaries[static_cast<std::size_t>(i)] = compiler.obtain(tiny(2));
      });
  }
  EXPECT_EQ(compiles(), 1u);
  for (const auto& binary : binaries) EXPECT_EQ(binary->entry.code, binaries[0]->entry.code);
}

TEST_F(JitCompiler, ThreadsShareAFailureAndTheNextCallTriesAgain) {
  count_compiles();
  compiles_take(50);
  Compiler compiler(settings());
  const Variant broken{&kBroken, {3, 1}, cuda::Architecture::kSm80};
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) threads.emplace_back([&] { EXPECT_THROW(compiler.obtain(broken), Error); });
  }
  const std::uintmax_t first = compiles();
  EXPECT_THROW(compiler.obtain(broken), Error);
  EXPECT_EQ(compiles(), first + 1);
}

TEST_F(JitCompiler, DifferentKernelsCompileAtTheSameTime) {
  compiles_take(200);
  Compiler compiler(settings());
  {
    std::vector<std::jthread> threads;
    for (const int factor : kTinyFactors)
      threads.emplace_back([&, factor] { compiler.obtain(tiny(factor)); });
  }
  void* library = ::dlopen(STROBE_FAKE_NVRTC, RTLD_NOW);
  ASSERT_NE(library, nullptr);
  const auto most_at_once = reinterpret_cast<int (*)()>(::dlsym(library, "fakeNvrtcMostAtOnce"));
  EXPECT_GE(most_at_once(), 2);
}

TEST_F(JitCompiler, SixteenProcessesRaceForOneKernel) {
  compiles_take(100);
  count_compiles();
  fake_nvrtc();
  std::vector<pid_t> children;
  for (int i = 0; i < 16; ++i) children.push_back(in_child([&] { Compiler(settings()).obtain(tiny(2)); }));
  for (const pid_t child : children) EXPECT_EQ(exit_status(child), 0);
  EXPECT_GE(compiles(), 1u);
  EXPECT_LE(compiles(), 2u);
  EXPECT_FALSE(Compiler(settings()).obtain(tiny(2))->compiled);
  EXPECT_THAT(messages.text(), IsEmpty());
}

// Where locks do not work, every process compiles, and the cache is right all the same.
TEST_F(JitCompiler, SixteenProcessesWithoutLocks) {
  class Lockless : public FileSystem {
    int try_lock(int) override { return ENOLCK; }
  };
  Lockless lockless;
  fake_nvrtc();
  std::vector<pid_t> children;
  for (int i = 0; i < 16; ++i)
    children.push_back(in_child([&] {
      CompilerSettings without = settings();
      without.files = &lockless;
      Compiler(without).obtain(tiny(2));
    }));
  for (const pid_t child : children) EXPECT_EQ(exit_status(child), 0);
  EXPECT_FALSE(Compiler(settings()).obtain(tiny(2))->compiled);
  EXPECT_THAT(messages.text(), IsEmpty());
}

TEST_F(JitCompiler, AHundredRunsKilledInTheMiddle) {
  compiles_take(2);
  fake_nvrtc();
  std::mt19937 random(7);
  int killed = 0;
  for (int run = 0; run < 100; ++run) {
    const pid_t child = in_child([&] {
      Compiler compiler(settings());
      for (const int factor : kTinyFactors) compiler.obtain(tiny(factor, run % 2 == 1));
    });
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 12000));
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    killed += WIFSIGNALED(status);
    // Now and then all is gone, so that kills keep hitting writers.
    if (run % 5 == 4)
      for (const auto& entry : fs::directory_iterator(folder.path()))
        if (entry.path().extension() == ".json") fs::remove(entry.path());
  }
  EXPECT_GT(killed, 10) << "the children were too fast to be killed";

  // The next run works, with nothing done by hand, and finds no damage: every record has its code.
  Compiler next(settings());
  for (const bool wide : {false, true})
    for (const int factor : kTinyFactors) next.obtain(tiny(factor, wide));
  EXPECT_THAT(messages.text(), IsEmpty());
  EXPECT_EQ(next.cache().entries().size(), 8u);
  for (const EntryName& name : next.cache().entries()) {
    std::string why;
    EXPECT_TRUE(next.cache().read(name, why).has_value()) << why;
  }
  next.cache().sweep();
  EXPECT_THAT(next.cache().incomplete(), IsEmpty());
}

TEST_F(JitCompiler, WaitingForAnotherProcessIsBoundedAndSaysForWhom) {
  Compiler compiler(settings());
  const std::string stem = "tiny-" + compiler.source_key(tiny(2)) + "-13.0";
  ASSERT_EQ(compiler.cache().problem(true), "");
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t holder = in_child([&] {
    const CompileLock lock(compiler.cache(), stem, {}, [] { return false; });
    if (::write(ready[1], "x", 1) != 1) throw 1;
    ::pause();
  });
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);

  CompilerSettings hasty = settings();
  hasty.patience = {50ms, 200ms};
  EXPECT_TRUE(Compiler(hasty).obtain(tiny(2))->compiled);
  const std::string process = "process " + std::to_string(holder);
  EXPECT_THAT(messages.text(), AllOf(HasSubstr("waiting for " + process + ", which compiles " + stem),
                                     HasSubstr(process + " still holds the compile")));
  ::kill(holder, SIGKILL);
  int status = 0;
  ::waitpid(holder, &status, 0);
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_F(JitCompiler, ALockOfADeadProcessIsNone) {
  Compiler compiler(settings());
  ASSERT_EQ(compiler.cache().problem(true), "");
  int descriptor = -1;
  ASSERT_EQ(file_system().create(compiler.cache().path("tiny-" + compiler.source_key(tiny(2)) + "-13.0.lock"),
                                 descriptor),
            0);
  ASSERT_EQ(file_system().write(descriptor, "999999999\n"), 0);
  file_system().close(descriptor);
  compiler.obtain(tiny(2));
  EXPECT_THAT(messages.text(), IsEmpty()) << "nobody was waited for";
}

TEST_F(JitCompiler, AChildCompilesAfterFork) {
  Compiler compiler(settings());
  compiler.obtain(tiny(2));
  EXPECT_EQ(exit_status(in_child([&] {
              compiler.obtain(tiny(2));
              compiler.obtain(tiny(3));
            })),
            0);
  EXPECT_FALSE(compiler.obtain(tiny(3))->compiled);
}

TEST_F(JitCompiler, AChildDoesNotWaitForAThreadOfItsParent) {
  compiles_take(200);
  count_compiles();
  Compiler compiler(settings());
  std::jthread parents([&] { compiler.obtain(tiny(2)); });
  while (compiles() == 0) std::this_thread::sleep_for(1ms);  // it is in the middle
  EXPECT_EQ(exit_status(in_child([&] {
              ::alarm(60);  // a hang would end the child, not the test
              compiler.obtain(tiny(2));
            })),
            0);
}

TEST_F(JitCompiler, ALongCompileSaysSo) {
  CompilerSettings hasty = settings();
  Compiler(hasty).obtain(tiny(1));
  EXPECT_THAT(messages.text(), IsEmpty());
  hasty.patience.before_message = 20ms;
  compiles_take(300);
  Compiler(hasty).obtain(tiny(2));
  EXPECT_THAT(messages.text(),
              HasSubstr("compiling tiny(kFactor = 2, kWide = false) for sm_90a takes more than 0.02 s"));
}

TEST_F(JitCompiler, VerboseTellsOfEveryKernel) {
  CompilerSettings verbose = settings();
  verbose.verbose = true;
  Compiler(verbose).obtain(tiny(2));
  EXPECT_THAT(messages.text(), AllOf(HasSubstr("for sm_90a: compiled in "),
                                     HasSubstr("17 registers, 512 bytes of static shared")));
  Compiler(verbose).obtain(tiny(2));
  EXPECT_THAT(messages.text(), HasSubstr("for sm_90a: from the cache (tiny-"));
}

TEST_F(JitCompiler, DebugKeepsHeadersAsFilesAndHasKeysOfItsOwn) {
  CompilerSettings debug = settings();
  debug.debug = DebugLevel::kLines;
  Compiler(settings()).obtain(tiny(2));
  Compiler debugging(debug);
  EXPECT_TRUE(debugging.obtain(tiny(2))->compiled);
  EXPECT_FALSE(debugging.obtain(tiny(2))->compiled);
  bool found = false;
  for (const auto& entry : fs::recursive_directory_iterator(folder.path()))
    found |= entry.path().filename() == "tiny.cuh" &&
             entry.path().parent_path().filename().string().starts_with("headers-");
  EXPECT_TRUE(found);
  for (const EntryName& name : debugging.cache().entries()) EXPECT_TRUE(parse_stem(name.stem()).has_value());
}

TEST_F(JitCompiler, NvrtcIsLookedForInToolkitsAndPythonEnvironments) {
  const std::string toolkit = folder.path("toolkit"), environment = folder.path("environment"),
                    extra = folder.path("extra");
  const std::string pip_13 = environment + "/lib/python3.11/site-packages/nvidia/cu13/lib";
  const std::string pip_12 = extra + "/nvidia/cuda_nvrtc/lib";
  for (const std::string& place : {toolkit + "/lib64", pip_13, pip_12}) fs::create_directories(place);
  ::setenv("CUDA_HOME", toolkit.c_str(), 1);
  ::setenv("VIRTUAL_ENV", environment.c_str(), 1);
  ::setenv("PYTHONPATH", ("/nonexistent:" + extra).c_str(), 1);
  const std::vector<std::string> folders = cuda::toolkit_folders("cuda_nvrtc");
  const auto place_of = [&](const std::string& place) {
    return std::find(folders.begin(), folders.end(), place);
  };
  EXPECT_EQ(place_of(toolkit + "/lib64"), folders.begin());
  EXPECT_LT(place_of(pip_13), folders.end());
  EXPECT_LT(place_of(pip_12), folders.end());
  for (const char* name : {"libnvrtc.so", "libnvrtc.so.12", "libnvrtc.so.13", "libnvrtc-builtins.so.13.0"})
    fs::create_symlink(STROBE_FAKE_NVRTC, pip_13 + "/" + name);
  EXPECT_EQ(cuda::library_files(pip_13, "libnvrtc.so"),
            (std::vector<std::string>{pip_13 + "/libnvrtc.so.13", pip_13 + "/libnvrtc.so.12",
                                      pip_13 + "/libnvrtc.so"}));
  for (const char* name : {"CUDA_HOME", "VIRTUAL_ENV", "PYTHONPATH"}) ::unsetenv(name);
}

// The real compiler, where there is one.
class JitNvrtc : public JitCompiler {
 protected:
  void SetUp() override {
    if (!nvrtc().status().problem.empty()) GTEST_SKIP() << nvrtc().status().problem;
  }
  CompilerSettings real() {
    CompilerSettings real = settings();
    real.nvrtc = nvrtc;
    return real;
  }
};

TEST_F(JitNvrtc, CompilesForEveryArchitectureWithACleanLog) {
  Compiler compiler(real());
  for (const cuda::ArchitectureFacts& facts : cuda::kArchitectures) {
    if (!nvrtc().supports(facts.architecture)) continue;
    const auto binary = compiler.obtain(tiny(3, true, facts.architecture));
    EXPECT_TRUE(binary->entry.record.facts.clean()) << binary->entry.record.log;
    EXPECT_GT(binary->entry.record.facts.registers, 0) << binary->entry.record.log;
    EXPECT_EQ(binary->entry.code.substr(0, 4),
              "\x7f"
              "ELF");
    EXPECT_NE(binary->entry.code.find("strobe_tiny"), std::string::npos);
  }
}

// Two processes may publish one entry at the same time; that needs equal code.
TEST_F(JitNvrtc, CompilesToTheSameBytesEveryTime) {
  const auto first = Compiler(real()).obtain(tiny(2));
  TemporaryFolder other;
  CompilerSettings elsewhere = real();
  elsewhere.cache_directory = other.path();
  EXPECT_EQ(Compiler(elsewhere).obtain(tiny(2))->entry.code, first->entry.code);
}

TEST_F(JitNvrtc, DebugInformationNamesTheKeptFiles) {
  for (const DebugLevel level : {DebugLevel::kLines, DebugLevel::kDevice}) {
    CompilerSettings debug = real();
    debug.debug = level;
    const auto binary = Compiler(debug).obtain(tiny(2));
    // A line table holds folders and names apart.
    EXPECT_NE(binary->entry.code.find(folder.path() + "/headers-"), std::string::npos);
    EXPECT_NE(binary->entry.code.find("tiny.cuh"), std::string::npos);
  }
}

TEST_F(JitNvrtc, AFolderOrAFileMayBeNamed) {
  const std::string file = nvrtc().status().library;
  const Nvrtc by_folder(fs::path(file).parent_path());
  EXPECT_EQ(by_folder.status().problem, "");
  EXPECT_EQ(by_folder.status().version, nvrtc().status().version);
  EXPECT_EQ(Nvrtc(file).status().library, file);
}

}  // namespace
}  // namespace strobe::jit
