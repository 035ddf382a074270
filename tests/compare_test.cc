// strobe bench compare: verdicts over recorded and made results, the text, the page, the command's exit
// status.
#include "bench/compare/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "bench/measure.h"
#include "bench/report/compare_page.h"
#include "cli/cli.h"
#include "support/result_json.h"
#include "support/sweep.h"

namespace strobe::bench {
namespace {

using test::error_message;
using test::rates_json;
using test::read_json;
using test::recorded;
using test::result_json;
using test::row_json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// Of the only case of both.
CaseVerdict verdict_of(const Json& a, const Json& b, double threshold = 0.05) {
  const ResultFile file_a = read_json(a), file_b = read_json(b, "b.json");
  const Comparison comparison = compare(file_a, file_b, threshold);
  EXPECT_EQ(comparison.cases.size(), 1u);
  return comparison.cases.front().result;
}

CaseVerdict verdict_of_times(double a_ms, double a_spread, double b_ms, double b_spread) {
  return verdict_of(result_json({row_json("rmsnorm", a_ms, a_spread)}),
                    result_json({row_json("rmsnorm", b_ms, b_spread)}));
}

// Scales the times of every row.
Json slowed(Json json, double factor) {
  for (Json& row : json["rows"])
    for (const char* field : {"median_ms", "min_ms", "std_ms"})
      row[field] = row[field].get<double>() * factor;
  return json;
}

Json with_spread(Json json, double spread) {
  for (Json& row : json["rows"]) row["std_ms"] = row["median_ms"].get<double>() * spread;
  return json;
}

TEST(Verdict, DifferencesWithinTheScatterAreTheSame) {
  EXPECT_EQ(verdict_of_times(1, 0.02, 1.01, 0.02).verdict, Verdict::kSame);
  EXPECT_EQ(verdict_of_times(1.01, 0.02, 1, 0.02).verdict, Verdict::kSame);
}

TEST(Verdict, TenPercentWithTwoPercentSpreadIsResolved) {
  EXPECT_EQ(verdict_of_times(1, 0.02, 1.1, 0.02).verdict, Verdict::kSlower);
  EXPECT_EQ(verdict_of_times(1.1, 0.02, 1, 0.02).verdict, Verdict::kFaster);
}

TEST(Verdict, TenPercentWithFifteenPercentSpreadIsNot) {
  EXPECT_EQ(verdict_of_times(1, 0.15, 1.1, 0.15).verdict, Verdict::kNotResolved);
  EXPECT_EQ(verdict_of_times(1, 0.02, 1.1, 0.15).verdict, Verdict::kNotResolved);
  EXPECT_EQ(verdict_of_times(1.1, 0.15, 1, 0.15).verdict, Verdict::kNotResolved);
}

TEST(Verdict, ScatterThatCouldHideAChangeIsNotTheSame) {
  EXPECT_EQ(verdict_of_times(1, 0.2, 1.001, 0.2).verdict, Verdict::kNotResolved);
}

TEST(Verdict, MoreCallsResolveMore) {
  const auto of = [](int calls) {
    return verdict_of(result_json({row_json("rmsnorm", 1, 0.15, "--rows 8", calls)}),
                      result_json({row_json("rmsnorm", 1.1, 0.15, "--rows 8", calls)}))
        .verdict;
  };
  EXPECT_EQ(of(30), Verdict::kNotResolved);
  EXPECT_EQ(of(1000), Verdict::kSlower);
}

TEST(Verdict, TheThresholdIsWhatCounts) {
  const Json a = result_json({row_json("rmsnorm", 1, 0.01)}),
             b = result_json({row_json("rmsnorm", 1.1, 0.01)});
  EXPECT_EQ(verdict_of(a, b, 0.05).verdict, Verdict::kSlower);
  EXPECT_EQ(verdict_of(a, b, 0.15).verdict, Verdict::kSame);
  EXPECT_EQ(verdict_of(a, b, 0.10).verdict, Verdict::kNotResolved) << "the interval holds the threshold";
}

TEST(Verdict, AMedianThatMovedAloneIsNotResolved) {
  Json a = result_json({row_json("rmsnorm", 1, 0.02)}), b = result_json({row_json("rmsnorm", 1.1, 0.02)});
  b["rows"][0]["min_ms"] = a["rows"][0]["min_ms"];
  const CaseVerdict result = verdict_of(a, b);
  EXPECT_EQ(result.verdict, Verdict::kNotResolved);
  EXPECT_THAT(result.reason, HasSubstr("fastest call"));
}

TEST(Verdict, LimitsThatMovedAreAChangedMachine) {
  const Json a = result_json({row_json("rmsnorm", 1, 0.02)});
  for (const double scale : {0.7, 1.3}) {
    Json beside = a, whole = a;
    beside["rows"][0]["limits"] = rates_json(scale);
    for (const char* when : {"before", "after"}) whole["limits"][when][0].update(rates_json(scale));
    EXPECT_EQ(verdict_of(a, beside).verdict, Verdict::kMachineChanged) << scale;
    EXPECT_EQ(verdict_of(a, whole).verdict, Verdict::kMachineChanged) << scale;
    EXPECT_EQ(verdict_of(a, slowed(beside, 1 / scale)).verdict, Verdict::kMachineChanged)
        << "explained by it";
  }
}

TEST(Verdict, MoreThanTheMachineExplainsIsResolved) {
  const Json a = result_json({row_json("rmsnorm", 1, 0.02)});
  Json slower_machine = a, faster_machine = a;
  slower_machine["rows"][0]["limits"] = rates_json(0.7);
  faster_machine["rows"][0]["limits"] = rates_json(1.3);
  EXPECT_EQ(verdict_of(a, slowed(slower_machine, 2)).verdict, Verdict::kSlower);
  EXPECT_EQ(verdict_of(a, slowed(faster_machine, 0.5)).verdict, Verdict::kFaster);
  EXPECT_EQ(verdict_of(a, slowed(faster_machine, 1.2)).verdict, Verdict::kSlower) << "on a faster machine";
}

TEST(Verdict, OnlyTheLimitThatBindsCounts) {
  const Json a = result_json({row_json("rmsnorm", 1, 0.02)});
  Json b = a;
  for (const char* rate : {"fma_gflops", "bf16_dot_gflops"}) {
    b["rows"][0]["limits"][rate] = 100;
    for (const char* when : {"before", "after"}) b["limits"][when][0][rate] = 100;
  }
  EXPECT_EQ(verdict_of(a, b).verdict, Verdict::kSame);
  Json c = a;
  c["rows"][0]["roofline_bound"] = "compute";
  Json d = b;
  d["rows"][0]["roofline_bound"] = "compute";
  EXPECT_EQ(verdict_of(c, d).verdict, Verdict::kMachineChanged);
}

// Limits that swing within both runs are no change from one to the other.
TEST(Verdict, RangesThatMeetAreOneMachine) {
  Json a = result_json({row_json("rmsnorm", 1, 0.02)}), b = slowed(a, 1.005);
  a["limits"]["before"][0].update(rates_json(1.6));
  b["limits"]["after"][0].update(rates_json(1.5));
  EXPECT_EQ(verdict_of(a, b).verdict, Verdict::kSame);
}

TEST(Verdict, AnotherProcessorIsAChangedMachine) {
  const Json a = result_json({row_json("rmsnorm", 1, 0.02)});
  Json b = slowed(a, 3);
  b["machine"]["cpu"] = "Other CPU";
  EXPECT_EQ(verdict_of(a, b).verdict, Verdict::kMachineChanged);
}

// The rule on drawn samples: with nothing changed it says neither slower nor faster, with 10 % planted it
// finds nearly all.
TEST(Verdict, HoldsItsErrorRateOnNoise) {
  std::mt19937_64 engine(1);
  std::lognormal_distribution<double> noise(0, 0.02);
  const auto row = [&](double median) {
    Timing timing;
    for (int i = 0; i < 30; ++i) timing.seconds.push_back(1e-3 * median * noise(engine));
    Json json = row_json("rmsnorm", timing.median() * 1e3, 0);
    json["min_ms"] = timing.min() * 1e3;
    json["std_ms"] = timing.deviation() * 1e3;
    return result_json({json});
  };
  int false_alarms = 0, found = 0;
  for (int i = 0; i < 300; ++i) {
    const Verdict same = verdict_of(row(1), row(1)).verdict;
    false_alarms += same == Verdict::kSlower || same == Verdict::kFaster;
    found += verdict_of(row(1), row(1.1)).verdict == Verdict::kSlower;
  }
  EXPECT_EQ(false_alarms, 0);
  EXPECT_GE(found, 270);
}

TEST(Compare, ARunAgainstItselfIsTheSame) {
  const ResultFile run = read_json(recorded("llama-3.1-8b.json"));
  const Comparison comparison = compare(run, run, 0.05);
  EXPECT_EQ(comparison.count(Verdict::kSame), run.rows.size());
  EXPECT_GT(run.rows.size(), 30u);
  EXPECT_TRUE(comparison.differences.empty());
}

TEST(Compare, RecordedRunsWithPlantedChanges) {
  const Json quiet = with_spread(recorded("llama-3.1-8b.json"), 0.02);
  const ResultFile a = read_json(quiet), slower = read_json(slowed(quiet, 1.1)),
                   faster = read_json(slowed(quiet, 1 / 1.1));
  std::size_t resolvable = 0;  // with a few calls, 2 % is still too much
  for (const ResultRow& row : a.rows) resolvable += row.num_iters >= 10;
  EXPECT_GE(compare(a, slower, 0.05).count(Verdict::kSlower), resolvable);
  EXPECT_GE(compare(a, faster, 0.05).count(Verdict::kFaster), resolvable);
  EXPECT_EQ(compare(a, slower, 0.05).count(Verdict::kFaster), 0u);
  const Json noisy = with_spread(recorded("llama-3.1-8b.json"), 0.15);
  const ResultFile noisy_a = read_json(noisy), noisy_b = read_json(slowed(noisy, 1.1));
  EXPECT_EQ(compare(noisy_a, noisy_b, 0.05).count(Verdict::kNotResolved), a.rows.size());
}

TEST(Compare, PairsByEverythingThatMakesACase) {
  Json other_level = row_json("rmsnorm", 1, 0.02), other_threads = row_json("rmsnorm", 1, 0.02);
  other_level["isa"] = "portable";
  other_threads["threads"] = 1;
  const ResultFile a = read_json(result_json({row_json("rmsnorm", 1, 0.02), row_json("only_a", 1, 0.02)}));
  const ResultFile b = read_json(result_json({row_json("rmsnorm", 1, 0.02, "--rows 9"), other_level,
                                              other_threads, row_json("rmsnorm", 1.01, 0.02)}));
  const Comparison comparison = compare(a, b, 0.05);
  ASSERT_EQ(comparison.cases.size(), 1u);
  EXPECT_EQ(comparison.cases[0].b, &b.rows[3]);
  ASSERT_EQ(comparison.only_a.size(), 1u);
  EXPECT_EQ(comparison.only_a[0]->routine, "only_a");
  EXPECT_EQ(comparison.only_b.size(), 3u);
  const std::string text = comparison_text(comparison, a, b);
  EXPECT_THAT(text, AllOf(HasSubstr("only in A: only_a --rows 8"), HasSubstr("only in B: rmsnorm --rows 9"),
                          HasSubstr("1 same, 1 only in A, 3 only in B (threshold 5%)")));
}

TEST(Compare, RepeatedCasesPairInOrder) {
  const ResultFile a = read_json(result_json({row_json("rmsnorm", 1, 0.02), row_json("rmsnorm", 2, 0.02)}));
  const Comparison comparison = compare(a, a, 0.05);
  ASSERT_EQ(comparison.cases.size(), 2u);
  for (std::size_t i = 0; i < 2; ++i) EXPECT_EQ(comparison.cases[i].b, &a.rows[i]);
}

TEST(Compare, SaysWhatDiffers) {
  const Json json = result_json({row_json("rmsnorm", 1, 0.02)});
  Json other = json;
  other["version"] = "0.2.0";
  other["machine"]["cpu"] = "Other CPU";
  other["rows"][0]["refcheck"] = "fail";
  other["rows"][0]["refcheck_message"] = "out[3]";
  const ResultFile a = read_json(json), b = read_json(other);
  const std::string text = comparison_text(compare(a, b, 0.05), a, b);
  EXPECT_THAT(text,
              AllOf(HasSubstr("differs: version: '0.1.0' in A, '0.2.0' in B"),
                    HasSubstr("differs: machine.cpu: 'Example CPU' in A, 'Other CPU' in B"),
                    HasSubstr("reference check failed in B: out[3]"), Not(HasSubstr("differs: commit"))));
}

TEST(Compare, RefusesWhatHasNothingToCompare) {
  const ResultFile a = read_json(result_json({row_json("rmsnorm", 1, 0.02)})),
                   b = read_json(result_json({row_json("silu_and_mul", 1, 0.02)}), "b.json"),
                   none = read_json(recorded("azure-conv.json"), "c.json");
  EXPECT_THAT(error_message([&] { compare(a, b, 0.05); }),
              HasSubstr("a.json and b.json have no case in common"));
  EXPECT_THAT(error_message([&] { compare(a, none, 0.05); }),
              HasSubstr("c.json: expected rows of cases, got none (workloads are not compared)"));
}

TEST(Compare, ReadsThresholds) {
  EXPECT_DOUBLE_EQ(parse_threshold("5%"), 0.05);
  EXPECT_DOUBLE_EQ(parse_threshold("0.5%"), 0.005);
  for (const char* wrong : {"", "5", "0.05", "%", "-5%", "0%", "nan%", "inf%", "5%%", "x%", "2000%"})
    EXPECT_THAT(error_message([&] { parse_threshold(wrong); }),
                HasSubstr("--threshold: expected a percentage"))
        << wrong;
}

TEST(ComparePage, ShowsEveryCaseAndEscapes) {
  const Json json = result_json({row_json("rmsnorm", 1, 0.02), row_json("a<b>", 1, 0.02, "--x \"&")});
  const ResultFile a = read_json(json), b = read_json(slowed(json, 1.1), "<b>.json");
  const std::string page = report::compare_page(compare(a, b, 0.05), a, b);
  EXPECT_THAT(page, AllOf(HasSubstr("rmsnorm"), HasSubstr("a&lt;b&gt;"), HasSubstr("&lt;b&gt;.json"),
                          HasSubstr("slower"), HasSubstr("+10.0")));
  EXPECT_THAT(page, AllOf(Not(HasSubstr("a<b>")), Not(HasSubstr("http"))));
}

class CompareCommand : public testing::Test {
 protected:
  CompareCommand()
      : folder_(std::filesystem::path(testing::TempDir()) / ("strobe_compare_" + std::to_string(getpid()))) {
    std::filesystem::create_directories(folder_);
  }
  ~CompareCommand() override { std::filesystem::remove_all(folder_); }

  std::string file(const char* name, const std::string& text) const {
    std::ofstream((folder_ / name).string()) << text;
    return (folder_ / name).string();
  }
  int run(const std::vector<std::string>& words) {
    std::vector<std::string> all = {"bench", "compare"};
    all.insert(all.end(), words.begin(), words.end());
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    const int status = cli::run(all);
    std::fflush(stdout);
    out_ = testing::internal::GetCapturedStdout();
    err_ = testing::internal::GetCapturedStderr();
    return status;
  }

  std::filesystem::path folder_;
  std::string out_, err_;
};

TEST_F(CompareCommand, ExitStatusIsForCi) {
  const Json json = result_json({row_json("rmsnorm", 1, 0.02)});
  const std::string a = file("a.json", json.dump()), b = file("b.json", slowed(json, 1.1).dump());
  EXPECT_EQ(run({a, a}), 0);
  EXPECT_THAT(out_, HasSubstr("1 same"));
  EXPECT_EQ(run({a, b}), 1);
  EXPECT_THAT(out_, HasSubstr("1 slower"));
  EXPECT_EQ(run({b, a}), 0);
  EXPECT_THAT(out_, HasSubstr("1 faster"));
  EXPECT_EQ(run({a, b, "--threshold", "20%"}), 0);
}

TEST_F(CompareCommand, WritesAPage) {
  const std::string a = file("a.json", result_json({row_json("rmsnorm", 1, 0.02)}).dump()),
                    page = (folder_ / "page.html").string();
  EXPECT_EQ(run({a, a, "--report", page}), 0);
  std::stringstream text;
  text << std::ifstream(page).rdbuf();
  EXPECT_THAT(text.str(), AllOf(HasSubstr("<!DOCTYPE html>"), HasSubstr("rmsnorm"), HasSubstr("</html>")));
}

TEST_F(CompareCommand, EveryErrorIsTwo) {
  const std::string a = file("a.json", result_json({row_json("rmsnorm", 1, 0.02)}).dump()),
                    broken = file("broken.json", "{\n\"version\": \"0.1.0\",\n  oops}"),
                    other = file("other.json", result_json({row_json("rope", 1, 0.02)}).dump());
  const struct {
    std::vector<std::string> words;
    const char* message;
  } wrong[] = {
      {{a}, "B is required"},
      {{a, (folder_ / "none.json").string()}, "none.json: cannot be read: No such file"},
      {{a, folder_.string()}, "cannot be read: Is a directory"},
      {{a, broken}, "broken.json: parse error at line 3, column 3"},
      {{a, other}, "no case in common"},
      {{a, a, "--threshold", "5"}, "--threshold: expected a percentage"},
      {{a, a, "--report", "/no/such/folder/page.html"}, "/no/such/folder/page.html: cannot be written"},
      {{a, a, "--report", "/dev/full"}, "/dev/full: cannot be written: No space left"}};
  for (const auto& [words, message] : wrong) {
    EXPECT_EQ(run(words), 2) << message;
    EXPECT_THAT(err_, AllOf(testing::StartsWith("strobe: "), HasSubstr(message)));
  }
}

}  // namespace
}  // namespace strobe::bench
