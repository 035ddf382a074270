// Programs for the host's C++ compiler: kept in the cache, shared among threads and processes, and what
// happens when the compiler or its caller fails.
#include "jit/host_compiler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "jit/pack.h"
#include "jit/process.h"
#include "strobe/error.h"
#include "support/sweep.h"
#include "support/tiny_kernel.h"

namespace strobe::jit {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

HostProgram scaled(int factor) {
  return {.name = "scaled",
          .constants = {{"int", "kFactor", std::to_string(factor)}},
          .source = "extern \"C\" int scaled(int x) { return kFactor * x; }\n"};
}

class HostCompilerTest : public testing::Test {
 protected:
  HostCompilerTest() {
    fs::create_directory(folder.path("tmp"));
    ::setenv("TMPDIR", folder.path("tmp").c_str(), 1);
  }
  ~HostCompilerTest() override {
    ::unsetenv("TMPDIR");
    ::unsetenv("CXX");
  }

  HostCompilerSettings settings() { return {.cache_directory = folder.path(), .report = messages.report()}; }
  // The compiler, behind a script that does something else before each compile.
  void before_each_compile(const std::string& commands) {
    const std::string script = folder.path("compiler");
    std::ofstream(script) << "#!/bin/sh\n[ \"$1\" = --version ] || { " << commands
                          << "; }\nexec c++ \"$@\"\n";
    fs::permissions(script, fs::perms::owner_all);
    ::setenv("CXX", script.c_str(), 1);
  }
  void count_compiles() { before_each_compile("printf x >> " + folder.path("count")); }
  std::uintmax_t compiles() const {
    std::error_code error;
    const std::uintmax_t bytes = fs::file_size(folder.path("count"), error);
    return error ? 0 : bytes;
  }
  std::vector<std::string> left_behind() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder.path("tmp"))) found.push_back(entry.path());
    return found;
  }
  pid_t obtain_in_child() {
    const pid_t child = ::fork();
    if (child != 0) return child;
    int status = 0;
    try {
      const int got = HostCompiler(settings()).obtain(scaled(3))->function<int(int)>("scaled")(5);
      status = got == 15 ? 0 : 1;
    } catch (...) {
      status = 2;
    }
    ::_exit(status);
  }
  static int status_of(pid_t child) {
    int status = -1;
    ::waitpid(child, &status, 0);
    return status;
  }
  std::string error_of(const HostProgram& program) {
    return test::error_message([&] { HostCompiler(settings()).obtain(program); });
  }

  TemporaryFolder folder;
  Messages messages;
};

TEST_F(HostCompilerTest, CompilesOnceThenFinds) {
  HostCompiler compiler(settings());
  const auto first = compiler.obtain(scaled(3));
  EXPECT_TRUE(first->compiled());
  EXPECT_EQ(first->function<int(int)>("scaled")(5), 15);
  EXPECT_EQ(compiler.obtain(scaled(4))->function<int(int)>("scaled")(5), 20);
  EXPECT_EQ(compiler.obtain(scaled(3)), first) << "loaded once";
  const auto found = HostCompiler(settings()).obtain(scaled(3));
  EXPECT_FALSE(found->compiled());
  EXPECT_EQ(found->function<int(int)>("scaled")(5), 15);
  HostProgram other_options = scaled(3);
  other_options.options = {"-DUNUSED"};
  EXPECT_TRUE(HostCompiler(settings()).obtain(other_options)->compiled());
  EXPECT_THAT(test::error_message([&] { first->function<int()>("missing"); }),
              HasSubstr("scaled(kFactor = 3) defines no extern \"C\" function missing"));
  EXPECT_THAT(messages.text(), IsEmpty());
  EXPECT_THAT(left_behind(), IsEmpty());
}

TEST_F(HostCompilerTest, ABadSourceIsKeptAndItsFirstDiagnosticNamed) {
  HostProgram bad = scaled(2);
  bad.name = "bad";
  bad.source = "extern \"C\" int bad() { return kFactor }\n";
  const std::string error = error_of(bad);
  EXPECT_THAT(error, AllOf(HasSubstr("bad(kFactor = 2) does not compile: bad.cc:2:"), HasSubstr("error: "),
                           HasSubstr("the source is kept in " + folder.path() + "/failed-bad-")));
  const std::size_t at = error.find(folder.path());
  std::string kept;
  ASSERT_EQ(file_system().read(error.substr(at, error.find(".cc,", at) + 3 - at), kept), 0) << error;
  EXPECT_EQ(kept, "constexpr int kFactor = 2;\n" + bad.source);
  EXPECT_THAT(left_behind(), IsEmpty());
}

TEST_F(HostCompilerTest, SaysWhatIsMissingWithoutACompiler) {
  ::setenv("CXX", folder.path("nothing").c_str(), 1);
  EXPECT_THAT(error_of(scaled(2)),
              AllOf(HasSubstr("scaled(kFactor = 2) is not in the kernel cache"),
                    HasSubstr("nothing' (from CXX) does not run: it cannot be started: No such file")));
  const std::string silent = folder.path("silent");
  std::ofstream(silent) << "#!/bin/sh\n";
  fs::permissions(silent, fs::perms::owner_all);
  ::setenv("CXX", silent.c_str(), 1);
  EXPECT_THAT(error_of(scaled(2)), HasSubstr("silent' (from CXX) does not tell its version"));
  ::unsetenv("CXX");
  const std::string path = std::getenv("PATH");
  ::setenv("PATH", folder.path("empty").c_str(), 1);
  const std::string error = error_of(scaled(2));
  ::setenv("PATH", path.c_str(), 1);
  EXPECT_THAT(error,
              HasSubstr("no C++ compiler was found: CXX is not set, and PATH has none of c++, g++, clang++; "
                        "install g++, or set CXX to a compiler"));
}

TEST_F(HostCompilerTest, WhatIsInTheCacheNeedsNoCompiler) {
  HostCompiler(settings()).obtain(scaled(3));
  ::setenv("CXX", "/bin/false", 1);
  HostCompilerSettings forbidden = settings();
  forbidden.may_compile = false;
  EXPECT_FALSE(HostCompiler(forbidden).obtain(scaled(3))->compiled());
  EXPECT_THAT(test::error_message([&] { HostCompiler(forbidden).obtain(scaled(4)); }),
              HasSubstr("scaled(kFactor = 4) is not in the kernel cache " + folder.path() +
                        ", and STROBE_DISABLE_JIT forbids to compile it"));
}

TEST_F(HostCompilerTest, ThreadsShareACompile) {
  count_compiles();
  HostCompiler compiler(settings());
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i)
      threads.emplace_back(
          [&] { EXPECT_EQ(compiler.obtain(scaled(3))->function<int(int)>("scaled")(2), 6); });
  }
  EXPECT_EQ(compiles(), 1u);
}

TEST_F(HostCompilerTest, EightProcessesRacingCompileAtMostTwice) {
  count_compiles();
  std::vector<pid_t> children;
  for (int i = 0; i < 8; ++i) children.push_back(obtain_in_child());
  for (const pid_t child : children) EXPECT_EQ(status_of(child), 0);
  EXPECT_GE(compiles(), 1u);
  EXPECT_LE(compiles(), 2u);
  EXPECT_THAT(messages.text(), IsEmpty());
}

TEST_F(HostCompilerTest, RunsKilledInTheMiddleLeaveNothingToCleanUp) {
  before_each_compile("sleep 0.1");
  int killed = 0;
  for (int run = 0; run < 8; ++run) {
    const pid_t child = obtain_in_child();
    std::this_thread::sleep_for(std::chrono::milliseconds(20 * run));
    ::kill(child, SIGKILL);
    killed += WIFSIGNALED(status_of(child));
    fs::remove_all(folder.path());
  }
  EXPECT_GT(killed, 2);
  HostCompiler next(settings());
  EXPECT_EQ(next.obtain(scaled(3))->function<int(int)>("scaled")(5), 15);
  EXPECT_THAT(messages.text(), IsEmpty());
  EXPECT_THAT(left_behind(), IsEmpty());
  EXPECT_THAT(next.cache().incomplete(), IsEmpty());
}

TEST_F(HostCompilerTest, ACompilerThatIsKilledIsAnError) {
  before_each_compile("kill -9 $$");
  EXPECT_THAT(
      error_of(scaled(2)),
      HasSubstr(
          "scaled(kFactor = 2) does not compile: the compiler says nothing, and it was killed by signal 9"));
}

TEST_F(HostCompilerTest, ADamagedEntryIsCompiledAgain) {
  HostCompiler(settings()).obtain(scaled(3));
  for (const auto& entry : fs::directory_iterator(folder.path()))
    if (entry.path().extension() == ".so") fs::resize_file(entry.path(), 100);
  EXPECT_TRUE(HostCompiler(settings()).obtain(scaled(3))->compiled());
  EXPECT_THAT(messages.text(), AllOf(HasSubstr("scaled-"), HasSubstr(".so is damaged")));
}

TEST_F(HostCompilerTest, ACacheThatOthersMayWriteCostsCompilesOnly) {
  fs::create_directory(folder.path());
  ::chmod(folder.path().c_str(), 0777);
  for (int run = 0; run < 2; ++run) {
    const auto library = HostCompiler(settings()).obtain(scaled(3));
    EXPECT_TRUE(library->compiled());
    EXPECT_EQ(library->function<int(int)>("scaled")(5), 15);
  }
  EXPECT_THAT(messages.text(), HasSubstr("may be written by others"));
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST_F(HostCompilerTest, APackMovesSharedObjectsToo) {
  HostCompiler here(settings());
  here.obtain(scaled(3));
  const std::string archive = pack(here.cache(), here.cache().entries());
  HostCompilerSettings there = settings();
  there.cache_directory = folder.path("there");
  there.may_compile = false;
  HostCompiler elsewhere(there);
  EXPECT_EQ(unpack(elsewhere.cache(), archive), 1u);
  EXPECT_FALSE(elsewhere.obtain(scaled(3))->compiled());
  EXPECT_EQ(elsewhere.cache().remove(elsewhere.cache().entries().at(0)), 3);
}

TEST_F(HostCompilerTest, ANameThatNoFileCanHaveIsRefused) {
  HostProgram program = scaled(2);
  for (const char* name : {"", "../up", "A", "a b"}) {
    program.name = name;
    EXPECT_THAT(error_of(program), HasSubstr("expected a name of lower-case letters, digits and '_', got '"));
  }
}

TEST(Process, TellsHowAProgramEnds) {
  EXPECT_TRUE(run_process({"true"}).succeeded);
  EXPECT_EQ(run_process({"sh", "-c", "echo out; echo err >&2; exit 3"}).output, "out\nerr\n");
  EXPECT_EQ(run_process({"sh", "-c", "exit 3"}).problem, "its exit status is 3");
  EXPECT_THAT(run_process({"sh", "-c", "kill -15 $$"}).problem, HasSubstr("killed by signal 15"));
  EXPECT_THAT(run_process({"/no/such/program"}).problem, HasSubstr("cannot be started: No such file"));
  EXPECT_EQ(run_process({"sh", "-c", "cat; echo $LC_ALL"}).output, "C\n") << "nothing on stdin, plain words";
  EXPECT_EQ(run_process({"echo", "a b", "$HOME;"}).output, "a b $HOME;\n") << "no shell looks at arguments";
}

}  // namespace
}  // namespace strobe::jit
