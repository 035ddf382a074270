// The strobe command: what it prints, and its exit status.
#include "cli/cli.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/env.h"
#include "core/log.h"
#include "op/docs.h"
#include "op/operator.h"
#include "strobe/operators.h"
#include "support/command.h"
#include "support/sweep.h"
#include "support/toy_operator.h"

namespace strobe::cli {
namespace {

using test::declare_toys;
using test::toy_operator;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;
namespace fs = std::filesystem;

using test::Outcome;
using test::read_text;
using test::strobe;

// Sets an environment variable for a scope.
class ScopedVariable {
 public:
  ScopedVariable(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~ScopedVariable() { unsetenv(name_); }

 private:
  const char* name_;
};

TEST(Cli, RefusesWhatItDoesNotKnow) {
  const std::pair<const char*, const char*> wrong[] = {
      {"frobnicate", "subcommand"},
      {"", "subcommand"},
      {"doctor --verbose", "--verbose"},
      {"bench",
       "expected --list, --suite NAME, --routine NAME, --testlist FILE, --workload NAME or --requests FILE"},
      {"bench --suite no-such", "unknown suite 'no-such'; known: quick, llama-3.1-8b"},
      {"bench --suite quick --num_tokens 3", "unknown flag '--num_tokens'"},
      {"bench --suite quick --routine rmsnorm", "--routine"},
      {"bench --routine no_such", "unknown routine 'no_such'"},
      {"bench --routine rmsnorm --tokens 3", "unknown parameter 'tokens'"},
      {"bench --routine rmsnorm --device tpu", "--device: expected cpu, cuda or cuda:<number>, got 'tpu'"},
      {"bench --routine rmsnorm --isa mmx", "--isa: expected levels that this machine runs"},
      {"bench --routine rmsnorm --num_iters 0", "--num_iters"},
      {"bench --routine rmsnorm --threads many", "--threads"},
      {"bench --workload no-such", "azure-conv, azure-code"},
      {"bench --workload azure-conv --steps none", "steps: expected an integer"},
  };
  for (const auto& [line, message] : wrong) {
    const Outcome outcome = strobe(line);
    EXPECT_EQ(outcome.status, kUsage) << line;
    EXPECT_THAT(outcome.err, AllOf(StartsWith("strobe: "), HasSubstr(message))) << line;
    EXPECT_EQ(outcome.out, "") << line << ": found before anything runs";
  }
}

TEST(Cli, FilesThatCannotBeUsedFailBeforeTheRun) {
  const Outcome unwritable = strobe("bench --routine rmsnorm --json /no/such/folder/out.json");
  EXPECT_EQ(unwritable.status, kFailed);
  EXPECT_THAT(unwritable.err, AllOf(StartsWith("strobe: "), HasSubstr("/no/such/folder/out.json"),
                                    HasSubstr("cannot be written")));
  EXPECT_EQ(unwritable.out, "");
  EXPECT_THAT(strobe("bench --routine rmsnorm --report /no/such/folder/page.html").err,
              HasSubstr("/no/such/folder/page.html: cannot be written"));
  const Outcome missing = strobe("bench --requests /no/such/requests.csv");
  EXPECT_EQ(missing.status, kFailed);
  EXPECT_THAT(missing.err, HasSubstr("/no/such/requests.csv"));
}

TEST(Cli, HelpAndVersion) {
  EXPECT_THAT(strobe("--version").out, StartsWith("strobe "));
  EXPECT_EQ(strobe("--version").status, kOk);
  const Outcome help = strobe("bench --help");
  EXPECT_EQ(help.status, kOk);
  EXPECT_THAT(help.out, AllOf(HasSubstr("--refcheck"), HasSubstr("--token_budget"), HasSubstr("azure-code")));
}

TEST(Cli, ListsEveryRoutine) {
  declare_toys();
  const Outcome outcome = strobe("bench --list");
  EXPECT_EQ(outcome.status, kOk);
  std::vector<std::string> listed;
  std::istringstream lines(outcome.out);
  for (std::string line; std::getline(lines, line);) listed.push_back(line.substr(0, line.find(' ')));
  EXPECT_EQ(listed, routine_names());
  EXPECT_THAT(listed, testing::Contains("toy"));
  EXPECT_THAT(strobe("bench --list -v").out,
              AllOf(HasSubstr("--num_tokens"), HasSubstr("rows of the toy"), HasSubstr("--factor")));
}

TEST(Cli, RunsARoutineAndWritesJson) {
  declare_toys();
  const std::string file = testing::TempDir() + "strobe_cli_out.json";
  const Outcome outcome =
      strobe("bench --routine toy --rows 100 --factor -3 --refcheck --num_iters 3 --json " + file);
  EXPECT_EQ(outcome.status, kOk) << outcome.err;
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("DRAM read"), HasSubstr("toy"), HasSubstr("pass"), HasSubstr("limits after")));
  const auto json = nlohmann::json::parse(read_text(file));
  fs::remove(file);
  EXPECT_TRUE(json.contains("version"));
  EXPECT_TRUE(json["machine"].contains("cpu"));
  for (const char* when : {"before", "after"}) EXPECT_GT(json["limits"][when][0]["dram_read_gbs"], 0) << when;
  ASSERT_EQ(json["rows"].size(), 1u);
  EXPECT_EQ(json["rows"][0]["case"]["factor"], -3);
  EXPECT_EQ(json["rows"][0]["refcheck"], "pass");
  EXPECT_FALSE(json.contains("workload"));
}

TEST(Cli, WritesAReportOfARunAndOfItsFile) {
  declare_toys();
  const std::string json = testing::TempDir() + "strobe_report.json",
                    page = testing::TempDir() + "strobe_report.html",
                    again = testing::TempDir() + "strobe_report_again.html";
  EXPECT_EQ(strobe("bench --routine toy --rows 70 --num_iters 3 --json " + json + " --report " + page).status,
            kOk);
  EXPECT_THAT(read_text(page),
              AllOf(StartsWith("<!DOCTYPE html>"), HasSubstr("strobe bench --routine toy --rows 70")));
  EXPECT_THAT(read_text(json),
              HasSubstr("\"command\": \"strobe bench --routine toy --rows 70 --num_iters 3 --json"));
  EXPECT_EQ(strobe("bench report " + json + " -o " + again).status, kOk);
  EXPECT_EQ(read_text(again), read_text(page));

  const Outcome full = strobe("bench report " + json + " -o /dev/full");
  EXPECT_EQ(full.status, kFailed);
  EXPECT_THAT(full.err, HasSubstr("/dev/full: cannot be written: No space left on device"));
  const Outcome unreadable = strobe("bench report " + page + " -o " + again);
  EXPECT_EQ(unreadable.status, kFailed);
  EXPECT_THAT(unreadable.err, HasSubstr("strobe_report.html: parse error at line 1, column 1"));
  EXPECT_EQ(read_text(again), read_text(page)) << "the earlier page stays";
  for (const std::string& file : {json, page, again}) fs::remove(file);
}

TEST(Cli, RunsEveryLevelAskedFor) {
  declare_toys();
  std::string levels;
  for (cpu::Isa level : test::isa_levels())
    levels += std::string(levels.empty() ? "" : ",") + std::string(cpu::name(level));
  const cpu::Isa before = cpu::active_isa();
  const Outcome outcome = strobe("bench --routine toy --num_iters 2 --isa " + levels);
  EXPECT_EQ(outcome.status, kOk) << outcome.err;
  for (cpu::Isa level : test::isa_levels())
    EXPECT_THAT(outcome.out, HasSubstr("threads, " + std::string(cpu::name(level)) + ":"));
  EXPECT_EQ(cpu::active_isa(), before);
}

TEST(Cli, FailsWhenAReferenceCheckFails) {
  declare_toys();
  const Outcome outcome = strobe("bench --routine wrong_toy --refcheck --num_iters 2");
  EXPECT_EQ(outcome.status, kFailed);
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("FAIL"), HasSubstr("reference check failed: out["), HasSubstr("expected")));
  EXPECT_EQ(strobe("bench --routine wrong_toy --num_iters 2").status, kOk)
      << "nothing is checked without --refcheck";
}

TEST(Cli, RunsAWorkload) {
  const std::string file = testing::TempDir() + "strobe_cli_workload.json";
  const Outcome outcome = strobe(
      "bench --workload azure-code --steps 3 --skip_steps 5 --num_pages 1000 --refcheck --json " + file);
  EXPECT_EQ(outcome.status, kOk) << outcome.err;
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("azure-code on the attention layer of llama-3.1-8b"),
                                 HasSubstr("tokens/s"), HasSubstr("pass")));
  const auto json = nlohmann::json::parse(read_text(file));
  fs::remove(file);
  EXPECT_EQ(json["rows"].size(), 0u);
  EXPECT_EQ(json["workload"]["num_steps"], 3);
}

// The toy is declared in this test only; everything that is derived from a declaration finds it.
TEST(Cli, ExplainsWhatApplyWouldRun) {
  const std::string starter = std::string(STROBE_SOURCE_DIR) + "/datasets/starter";
  const Outcome table =
      strobe("trace explain " + starter +
             " --definitions rmsnorm_h4096_f32 --hardware nothing --on-miss nearest --axes batch_size=3");
  EXPECT_EQ(table.status, kOk) << table.err;
  EXPECT_THAT(table.out,
              AllOf(HasSubstr("nothing: no trace counts; calls go to their fallback"),
                    HasSubstr("a call of batch_size=3: the fallback, no traces"),
                    HasSubstr("Sizes that were not measured: nearest"), Not(HasSubstr("gqa_paged"))));
  const fs::path file = fs::temp_directory_path() / fmt::format("strobe_cli_statistics_{}.json", getpid());
  std::ofstream(file)
      << R"({"left_out": {"status TIMEOUT": 2}, "problems": [], "definitions": {"norm": {"calls": 3, "applied": 2,
    "routes": {"exact": 2, "not measured": 1}, "mismatches": {}, "refused": {}, "sizes": []}}})";
  const Outcome statistics = strobe("trace explain --statistics " + file.string());
  fs::remove(file);
  EXPECT_EQ(statistics.status, kOk) << statistics.err;
  EXPECT_THAT(statistics.out, AllOf(HasSubstr("2 traces left out: status TIMEOUT"),
                                    HasSubstr("norm: 3 calls, 2 of them to a solution\n  exact: 2\n")));
  const std::pair<std::string, const char*> wrong[] = {
      {"", "expected a data set"},
      {starter + " --definitions no_such", "there is no definition 'no_such'"},
      {starter + " --axes batch_size", "expected name=size, got 'batch_size'"},
      {starter + " --axes batch_size=-1", "expected name=size"},
      {starter + " --axes rows=3", "rows=3"},
      {starter + " --on-miss guess", "--on-miss"},
      {"/nowhere", "/nowhere"},
  };
  for (const auto& [line, message] : wrong) {
    const Outcome outcome = strobe("trace explain " + line);
    EXPECT_NE(outcome.status, kOk) << line;
    EXPECT_THAT(outcome.err, HasSubstr(message)) << line;
  }
}

TEST(Toy, IsValidated) {
  Tensor input(Dtype::kF32, {2, 3}), out(Dtype::kF32, {2, 4});
  const test::ToyArgs args = {.input = input, .out = out};
  EXPECT_THAT(test::error_message([&] { op::call(toy_operator<0>("toy"), args, {}); }),
              HasSubstr("toy: out: expected shape [rows = 2, columns = 3], got f32[2, 4]"));
}

TEST(Toy, IsLogged) {
  const std::string file = testing::TempDir() + "strobe_cli_log.txt";
  fs::remove(file);
  log::configure(3, file);
  Tensor input(Dtype::kF32, {2, 3}), out(Dtype::kF32, {2, 3});
  op::fill_poison(input);
  op::call(toy_operator<0>("toy"), test::ToyArgs{.input = input, .out = out}, {});
  log::configure(0, "stderr");
  EXPECT_THAT(read_text(file),
              AllOf(HasSubstr("toy (cpu)"), HasSubstr("in input: f32[2, 3]"), HasSubstr("factor = 2")));
  fs::remove(file);
}

TEST(Toy, IsDocumented) {
  declare_toys();
  EXPECT_THAT(strobe("docs").out,
              AllOf(HasSubstr("## toy\n"), HasSubstr("out[i, j] = factor * input[i, j]"),
                    HasSubstr("| `factor` | number in [-10, 10] | 2 | multiplies |"),
                    HasSubstr("- the toy has no rules"),
                    HasSubstr("| `out` | out | [rows, columns] | that of input | the products |")));
}

// The operators that this test declares are not the library's.
TEST(Docs, PageInTheTreeIsCurrent) {
  std::vector<const op::Operator*> built_in;
  for (const op::Operator* op : op::registry().all())
    if (op->family != "toy") built_in.push_back(op);
  EXPECT_EQ(read_text(fs::path(STROBE_SOURCE_DIR) / "docs/operators.md"), op::operators_page(built_in))
      << "run `make docs`";
}

TEST(Doctor, ShowsMachineAndEveryVariable) {
  const ScopedVariable misspelt("STROBE_LOG_LEVEL", "3"), threads("STROBE_SPIN_US", "77");
  const Outcome outcome = strobe("doctor");
  EXPECT_EQ(outcome.status, kOk) << outcome.err;
  for (const env::Entry& entry : env::table()) EXPECT_THAT(outcome.out, HasSubstr(std::string(entry.name)));
  EXPECT_THAT(outcome.out, AllOf(testing::ContainsRegex("STROBE_LOG_LEVEL +warning"),
                                 testing::ContainsRegex("STROBE_SPIN_US +77")));
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("caches"), HasSubstr("ISA levels portable"), HasSubstr("threads")));
  EXPECT_THAT(outcome.out, testing::ContainsRegex("decode attention .* head dimensions 64, 96, 128"));
  EXPECT_THAT(outcome.out, testing::ContainsRegex("attention variants .* head dimensions up to 256"));
}

}  // namespace
}  // namespace strobe::cli
