// The strobe command as a process of its own: Ctrl-C, full disks.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/output_file.h"
#include "bench/test_list.h"
#include "cli/cli.h"
#include "strobe/error.h"
#include "support/command.h"

namespace strobe::cli {
namespace {

using test::Folder;
using test::read_text;
using testing::HasSubstr;

// strobe with its stdout in a pipe, or in a file.
class Child {
 public:
  explicit Child(const std::string& line, const char* output = nullptr) {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    id_ = fork();
    if (id_ == 0) {
      dup2(output != nullptr ? open(output, O_WRONLY) : ends[1], STDOUT_FILENO);
      close(ends[0]);
      close(ends[1]);
      std::vector<std::string> words = bench::split_words(line);
      std::vector<char*> arguments = {const_cast<char*>("strobe")};
      for (std::string& word : words) arguments.push_back(word.data());
      arguments.push_back(nullptr);
      execv(STROBE_COMMAND, arguments.data());
      _exit(127);
    }
    close(ends[1]);
    out_ = ends[0];
  }
  ~Child() { close(out_); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // Reads until a line begins with `start`; false when the output ends before.
  bool wait_for(const std::string& start) {
    for (std::string line; read_line(line);)
      if (line.starts_with(start)) return true;
    return false;
  }
  void interrupt() const { kill(id_, SIGINT); }
  // Reads the rest; the exit status, or 1000 + the signal that ended it.
  int finish() {
    for (std::string line; read_line(line);) {
    }
    int status = 0;
    waitpid(id_, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  }

 private:
  bool read_line(std::string& line) const {
    line.clear();
    for (char c; read(out_, &c, 1) == 1; line += c)
      if (c == '\n') return true;
    return !line.empty();
  }

  pid_t id_;
  int out_;
};

constexpr const char* kShort = "--routine rmsnorm --num_tokens 8 --num_iters 2\n";
constexpr const char* kEndless = "--routine rmsnorm --num_tokens 4096 --num_iters 1000000\n";

TEST(CtrlC, WhatIsFinishedIsWritten) {
  const Folder folder;
  const std::string list = folder.file("list.txt", std::string(kShort) + kEndless + kShort);
  Child child("bench --threads 1 --testlist " + list + " --json " + folder.file("out.json") + " --csv " +
              folder.file("out.csv") + " --report " + folder.file("out.html"));
  ASSERT_TRUE(child.wait_for("rmsnorm "));
  child.interrupt();
  EXPECT_EQ(child.finish(), kInterrupted);
  const auto json = nlohmann::json::parse(read_text(folder.file("out.json")));
  EXPECT_EQ(json["rows"].size(), 1u) << "no row of a case that was not finished, and none after it";
  EXPECT_EQ(json["stopped"], true);
  const std::string csv = read_text(folder.file("out.csv"));
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 2) << "the header and the row";
  EXPECT_THAT(read_text(folder.file("out.html")), HasSubstr("</html>"));
  EXPECT_EQ(folder.entries(), 4u) << "no temporary file is left";
}

TEST(CtrlC, OldResultsStayWhenNothingIsFinished) {
  const Folder folder;
  const std::string file = folder.file("out.json", "old");
  Child child("bench --threads 1 " + std::string(kEndless) + " --json " + file);
  ASSERT_TRUE(child.wait_for("routine "));
  child.interrupt();
  EXPECT_EQ(child.finish(), kInterrupted);
  EXPECT_EQ(read_text(file), "old");
  EXPECT_EQ(folder.entries(), 1u);
}

TEST(FullDisk, TargetsFailAloneAndAreNamed) {
  const Folder folder;
  const std::string csv = folder.file("out.csv");
  const test::Outcome outcome =
      test::strobe("bench --json /dev/full --csv " + csv + " --threads 1 " + std::string(kShort));
  EXPECT_EQ(outcome.status, kFailed);
  EXPECT_THAT(outcome.err, HasSubstr("/dev/full: cannot be written: No space left on device"));
  EXPECT_THAT(read_text(csv), HasSubstr("\nrmsnorm,")) << "the other file is whole";
}

TEST(FullDisk, StandardOutputCostsNothingElse) {
  const Folder folder;
  const std::string file = folder.file("out.json");
  Child child("bench --threads 1 " + std::string(kShort) + " --json " + file, "/dev/full");
  EXPECT_EQ(child.finish(), kFailed);
  EXPECT_EQ(nlohmann::json::parse(read_text(file))["rows"].size(), 1u);
}

// In a process of its own, whose files may not grow beyond a few bytes.
TEST(FullDisk, OldContentIsKept) {
  const Folder folder;
  const std::string file = folder.file("out.json", "old");
  const pid_t id = fork();
  if (id == 0) {
    const rlimit limit = {16, 16};
    std::signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    try {
      bench::OutputFile(file).write(std::string(100, 'x'));
      _exit(0);
    } catch (const Error& error) {
      _exit(std::string(error.what()).find("out.json: cannot be written") != std::string::npos ? 3 : 4);
    }
  }
  int status = 0;
  waitpid(id, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 3);
  EXPECT_EQ(read_text(file), "old");
  EXPECT_EQ(folder.entries(), 1u) << "no temporary file is left";
}

}  // namespace
}  // namespace strobe::cli
