// strobe bench: test lists, backends, and the files it writes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "bench/backends.h"
#include "bench/run_info.h"
#include "bench/test_list.h"
#include "cli/cli.h"
#include "cuda/driver.h"
#include "support/command.h"
#include "support/sweep.h"
#include "support/toy_operator.h"

namespace strobe::cli {
namespace {

using test::declare_toys;
using test::error_message;
using test::Folder;
using test::Outcome;
using test::strobe;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

TEST(TestList, SplitsWordsAsAShellDoes) {
  using bench::split_words;
  EXPECT_THAT(split_words("  --a b\t--c=d  "), ElementsAre("--a", "b", "--c=d"));
  EXPECT_THAT(split_words(R"(--tag "two words" 'it''s' a\ b "q\"q" '\')"),
              ElementsAre("--tag", "two words", "its", "a b", "q\"q", "\\"));
  EXPECT_THAT(split_words("--a 1 # a comment"), ElementsAre("--a", "1"));
  EXPECT_THAT(split_words("--a b#c \"\""), ElementsAre("--a", "b#c", ""));
  EXPECT_THAT(split_words("# all"), IsEmpty());
  EXPECT_THAT(error_message([] { split_words("--a 'b"); }), HasSubstr("the quote ' has no end"));
}

TEST(TestList, QuotedWordsAreOneWordAgain) {
  for (const char* word : {"plain", "two words", "it's", "", "a\"b", "$x", "a\\b", "#tag"})
    EXPECT_THAT(bench::split_words(bench::shell_quoted(word)), ElementsAre(word))
        << bench::shell_quoted(word);
}

TEST(TestList, LinesKeepTheirNumbersAndLoseTheirCommand) {
  const std::vector<bench::TestLine> lines = bench::parse_test_list(
      "# one\n\n--routine a\nstrobe bench --routine b\npython3 x/flashinfer_benchmark.py -R c\n'\nrm -rf\n");
  ASSERT_EQ(lines.size(), 5u);
  EXPECT_EQ(lines[0].number, 3);
  EXPECT_THAT(lines[1].words, ElementsAre("--routine", "b"));
  EXPECT_THAT(lines[2].words, ElementsAre("-R", "c"));
  EXPECT_THAT(lines[3].error, HasSubstr("has no end"));
  EXPECT_THAT(lines[4].words, ElementsAre("rm", "-rf")) << "no command of a benchmark";
}

TEST(TestList, TellsOfWrongLinesAndRunsTheOthers) {
  declare_toys();
  const Folder folder;
  const std::string list = folder.file("list.txt",
                                       "--routine toy --rows 10 --case_tag first\n"
                                       "--routine no_such\n"
                                       "--routine toy --rows many\n"
                                       "--rows 10\n"
                                       "--routine toy --json out.json\n"
                                       "--routine toy --num_iters 0\n"
                                       "--routine toy --case_tag \"no end\n"
                                       "--routine mm_bf16 --m 1\n"
                                       "--routine single_decode --num_qo_heads 3\n"
                                       "--routine toy --num_iters 4 --case_tag last\n");
  const std::string json_file = folder.file("out.json");
  const Outcome outcome = strobe("bench --num_iters 2 --testlist " + list + " --json " + json_file);
  EXPECT_EQ(outcome.status, kFailed);
  const auto says = [&](int line, const char* text) {
    EXPECT_THAT(outcome.err, HasSubstr(list + ", line " + std::to_string(line) + ": " + text));
  };
  says(2, "unknown routine 'no_such'");
  says(3, "toy: rows: expected an integer");
  says(4, "expected --routine NAME");
  says(5, "--json is for the whole run");
  says(6, "--num_iters");
  says(7, "the quote \" has no end");
  says(8, "mm_bf16: FlashInfer's benchmark has this routine");
  says(9, "single_decode --num_qo_heads 3: ");
  const auto rows = nlohmann::json::parse(test::read_text(json_file))["rows"];
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0]["case_tag"], "first");
  EXPECT_EQ(rows[0]["num_iters"], 2);
  EXPECT_EQ(rows[1]["case_tag"], "last");
  EXPECT_EQ(rows[1]["num_iters"], 4);
}

TEST(TestList, NeedsAFileWithCases) {
  const Folder folder;
  const Outcome missing = strobe("bench --testlist " + folder.file("none.txt"));
  EXPECT_EQ(missing.status, kFailed);
  EXPECT_THAT(missing.err, HasSubstr("none.txt: cannot be read"));
  const Outcome empty = strobe("bench --testlist " + folder.file("empty.txt", "# nothing\n"));
  EXPECT_EQ(empty.status, kUsage);
  EXPECT_THAT(empty.err, HasSubstr("the test list has no cases"));
  const Outcome wrong = strobe("bench --testlist " + folder.file("wrong.txt", "--routine no_such\n"));
  EXPECT_EQ(wrong.status, kFailed);
  EXPECT_EQ(wrong.out, "") << "there is nothing to run";
}

TEST(Backends, OfAGpuAreLeftOutWhereThereIsNone) {
  if (cuda::driver_status().problem.empty()) GTEST_SKIP() << "this machine has a driver";
  const std::vector<std::string> both = {"cpu", "cuda/sm90"}, gpu = {"cuda/sm80"};
  EXPECT_THAT(bench::choose_backends(both).notes,
              ElementsAre(HasSubstr("--backends cuda/sm90: left out: no NVIDIA driver was found")));
  EXPECT_THAT(error_message([&] { bench::choose_backends(gpu); }), HasSubstr("no NVIDIA driver was found"));
  EXPECT_THAT(error_message([&] {
                bench::choose_backends({}, {DeviceType::kCuda, 1});
              }),
              HasSubstr("--device cuda:1: no NVIDIA driver was found"));
}

TEST(Backends, ChooseLevelsAndSayWhatIsLeftOut) {
  using bench::choose_backends;
  const auto choose = [](std::initializer_list<const char*> names) {
    return choose_backends(std::vector<std::string>(names.begin(), names.end()));
  };
  const cpu::Isa active = cpu::active_isa();
  EXPECT_THAT(choose({}).levels, ElementsAre(active));
  EXPECT_THAT(choose({"cpu", "auto", "cpu"}).levels, ElementsAre(active));
  EXPECT_THAT(choose({"cpu/portable"}).levels, ElementsAre(cpu::Isa::kPortable));
  EXPECT_THAT(choose({"cpu", "fa3"}).notes,
              ElementsAre(HasSubstr("--backends fa3: left out: a kernel of FlashInfer")));
  const bench::BackendChoice theirs = choose({"fa2", "fa3"});
  EXPECT_THAT(theirs.levels, ElementsAre(active)) << "Strobe's kernels stand for those";
  EXPECT_THAT(theirs.notes, ElementsAre(HasSubstr("fa2"), HasSubstr("fa3"), HasSubstr("in their place")));
  EXPECT_THAT(error_message([&] {
                choose({"fa2", "cpu/sse9"});
              }),
              AllOf(HasSubstr("got 'cpu/sse9'"), HasSubstr("cpu/portable")));
  for (const char* level : {"cpu/neon_bf16", "cpu/avx512_bf16"}) {
    const bench::BackendChoice choice = choose({"cpu", level});
    const bool here = bench::backend_label(choice.levels.back()) == level;
    if (!here)
      EXPECT_THAT(choice.notes, ElementsAre(HasSubstr("this machine does not run it; it has cpu"))) << level;
  }
}

TEST(Backends, TakeTurnsInOneRun) {
  declare_toys();
  const Folder folder;
  const std::string json_file = folder.file("out.json");
  std::string names;
  for (cpu::Isa level : test::isa_levels()) names += " " + bench::backend_label(level);
  const Outcome outcome =
      strobe("bench --routine toy --num_iters 3 --backends fa2" + names + " --json " + json_file);
  EXPECT_EQ(outcome.status, kOk) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("note: --backends fa2: left out"));
  const auto rows = nlohmann::json::parse(test::read_text(json_file))["rows"];
  ASSERT_EQ(rows.size(), test::isa_levels().size());
  for (std::size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(rows[i]["isa"], cpu::name(test::isa_levels()[i]));
}

TEST(BenchCli, AMismatchCanBeAllowed) {
  declare_toys();
  const Folder folder;
  const std::string json_file = folder.file("out.json");
  const Outcome outcome = strobe(
      "bench --routine wrong_toy --refcheck --allow_output_mismatch --num_iters 2 --json " + json_file);
  EXPECT_EQ(outcome.status, kOk) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("reference check failed"));
  EXPECT_EQ(nlohmann::json::parse(test::read_text(json_file))["rows"][0]["refcheck"], "fail");
}

TEST(BenchCli, PrintsTheCommandThatRepeatsARow) {
  declare_toys();
  const Outcome outcome =
      strobe("bench --routine toy --rows 9 --num_iters 2 --generate_repro_command --case_tag 'my tag'");
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("strobe bench --routine toy --rows 9 "),
                                 HasSubstr("--case_tag 'my tag'"), HasSubstr("[my tag]")));
  const std::size_t at = outcome.out.find("strobe bench ");
  const std::string command = outcome.out.substr(at + 7, outcome.out.find('\n', at) - at - 7);
  EXPECT_EQ(strobe(command).status, kOk) << command;
}

TEST(BenchCli, CallsByTime) {
  declare_toys();
  const Folder folder;
  const std::string json_file = folder.file("out.json");
  EXPECT_EQ(strobe("bench --routine toy --warm --repeat_time_ms 5 --json " + json_file).status, kOk);
  EXPECT_GT(nlohmann::json::parse(test::read_text(json_file))["rows"][0]["num_iters"], 30);
  EXPECT_EQ(strobe("bench --routine toy --repeat_time_ms 5 --num_iters 3").status, kUsage);
  EXPECT_EQ(strobe("bench --routine toy --dry_run_time_ms 5").status, kUsage);
}

TEST(BenchCli, WrongCombinationsAreRefused) {
  const std::pair<const char*, const char*> wrong[] = {
      {"bench --routine rmsnorm --isa portable --backends cpu", "--isa"},
      {"bench --suite quick --testlist x", "--testlist"},
      {"bench --workload azure-conv --csv x.csv", "--csv: a workload has no rows"},
      {"bench --workload azure-conv --backends cpu/portable cpu/avx2 cpu/neon", "--isa: expected one level"},
      {"bench --routine rmsnorm --backends sse", "--backends: expected cpu"},
  };
  for (const auto& [line, message] : wrong) {
    if (std::string(line).find("neon") != std::string::npos && test::isa_levels().size() < 2) continue;
    const Outcome outcome = strobe(line);
    EXPECT_EQ(outcome.status, kUsage) << line;
    EXPECT_THAT(outcome.err, HasSubstr(message)) << line;
    EXPECT_EQ(outcome.out, "") << line;
  }
}

}  // namespace
}  // namespace strobe::cli
