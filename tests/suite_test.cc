// Suites: what the built-in ones hold, how a file becomes cases, and what is said about a wrong one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "bench/suites.h"
#include "op/operator.h"
#include "support/sweep.h"

namespace strobe::bench {
namespace {

using test::error_message;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;
namespace fs = std::filesystem;

// A suite with these cases; they begin on line 2.
std::string with_cases(const std::string& cases) {
  return "{\"name\": \"mine\", \"description\": \"d\", \"cases\": [\n" + cases + "\n]}";
}

std::vector<std::string> lines_of(const std::string& cases) {
  std::vector<std::string> lines;
  for (const BenchCase& one : parse_suite("mine.json", with_cases(cases)).cases)
    lines.push_back(one.routine.routine.name + " " + one.flags);
  return lines;
}

std::string message(const std::string& text) {
  return error_message([&] { parse_suite("mine.json", text); });
}

TEST(SuiteFile, EveryEntryIsACase) {
  EXPECT_THAT(lines_of(R"({"routine": "rmsnorm", "num_tokens": 3, "eps": 0.5, "gemma": true},
                          {"note": "the defaults", "routine": "silu_and_mul"})"),
              ElementsAre("rmsnorm --num_tokens 3 --eps 0.5 --gemma true", "silu_and_mul "));
}

TEST(SuiteFile, ListsGiveEveryCombination) {
  EXPECT_THAT(lines_of(R"({"routine": "rmsnorm", "hidden": [8, 16], "dtype": "f32", "num_tokens": [1, 2]})"),
              ElementsAre("rmsnorm --hidden 8 --dtype f32 --num_tokens 1",
                          "rmsnorm --hidden 8 --dtype f32 --num_tokens 2",
                          "rmsnorm --hidden 16 --dtype f32 --num_tokens 1",
                          "rmsnorm --hidden 16 --dtype f32 --num_tokens 2"));
}

TEST(SuiteFile, CasesKnowWhereTheyCameFromAndHowOftenTheyRun) {
  const Suite suite = parse_suite("mine.json", with_cases("{\"routine\": \"rmsnorm\"},\n\n"
                                                          "{\"routine\": \"rmsnorm\", \"num_iters\": 7}"));
  EXPECT_EQ(suite.name, "mine");
  ASSERT_EQ(suite.cases.size(), 2u);
  EXPECT_FALSE(suite.cases[0].num_iters);
  EXPECT_EQ(suite.cases[1].num_iters, 7);
  EXPECT_EQ(suite.cases[1].flags, "") << "the number of calls is no parameter of the routine";
  EXPECT_EQ(suite.cases[0].origin, "mine.json, line 2 (entry 1)");
  EXPECT_EQ(suite.cases[1].origin, "mine.json, line 4 (entry 2)");
}

TEST(SuiteFile, IncludesBuiltInSuites) {
  const Suite suite = parse_suite(
      "mine.json",
      R"({"name": "m", "description": "d", "include": ["quick"], "cases": [{"routine": "rmsnorm"}]})");
  EXPECT_EQ(suite.cases.size(), suite_cases("quick").size() + 1);
  EXPECT_THAT(message(R"({"name": "m", "description": "d", "include": ["slow"]})"),
              AllOf(StartsWith("mine.json: "), HasSubstr("unknown suite 'slow'")));
}

TEST(SuiteFile, NamesLineKeyAndValueOfWhatIsWrong) {
  const std::pair<const char*, const char*> wrong[] = {
      {R"({"routine": "no_such"})", "unknown routine 'no_such'"},
      {R"({"num_tokens": 3})", "key 'routine' is missing"},
      {R"({"routine": 3})", "routine: expected a text, got 3"},
      {R"({"routine": "rmsnorm", "tokens": 3})", "rmsnorm: unknown parameter 'tokens'"},
      {R"({"routine": "rmsnorm", "hidden": -1})",
       "rmsnorm: hidden: expected an integer of at least 0, got '-1'"},
      {R"({"routine": "rmsnorm", "hidden": 1.5})", "rmsnorm: hidden: expected an integer"},
      {R"({"routine": "rmsnorm", "hidden": null})",
       "hidden: expected a number, a text, true, false or a list"},
      {R"({"routine": "rmsnorm", "hidden": [8, [9]]})", "hidden: expected a number, a text"},
      {R"({"routine": "rmsnorm", "hidden": []})", "hidden: expected values, got an empty list"},
      {R"({"routine": "rmsnorm", "dtype": "f8"})", "rmsnorm: dtype: expected f32, f16 or bf16, got 'f8'"},
      {R"({"routine": "rmsnorm", "dtype": ["bf16", "e4m3"]})",
       "dtype: expected f32, f16 or bf16, got 'e4m3'"},
      {R"({"routine": "rmsnorm", "eps": 2})", "rmsnorm: eps: expected a value in [0, 1], got 2"},
      {R"({"routine": "rmsnorm", "gemma": "maybe"})", "gemma: expected true or false, got 'maybe'"},
      {R"({"routine": "batch_decode_paged", "page_size": 0})",
       "page_size: expected an integer of at least 1"},
      {R"({"routine": "rmsnorm", "num_iters": 0})", "num_iters: expected an integer in [1, 1000000], got 0"},
      {R"({"routine": "rmsnorm", "num_iters": "5"})", "num_iters: expected an integer"},
      {R"({"routine": "rmsnorm", "hidden": 8, "hidden": 9})", "line 3: key \"hidden\" is given twice"},
  };
  for (const auto& [entry, expected] : wrong)
    EXPECT_THAT(message(with_cases(std::string("{\"routine\": \"rmsnorm\"},\n") + entry)),
                AllOf(StartsWith("mine.json, line 3"), HasSubstr(expected)))
        << entry;
  EXPECT_THAT(message(with_cases("{\"routine\": \"rmsnorm\"},\n3")),
              HasSubstr("mine.json, entry 2: expected an object"));
}

TEST(SuiteFile, SaysWhatIsNoSuite) {
  const std::pair<const char*, const char*> wrong[] = {
      {"", "parse error at line 1"},
      {"{\"name\": \"m\",\n \"cases\": [}", "parse error at line 2"},
      {"[]", "expected an object"},
      {"{}", "key 'name' is missing"},
      {R"({"name": "m", "description": "d"})", "the suite has no cases"},
      {R"({"name": "m", "description": "d", "cases": []})", "the suite has no cases"},
      {R"({"name": "m", "description": "d", "cases": {}})", "cases: expected a list"},
      {R"({"name": "m", "description": "d", "kases": []})", "unknown key 'kases'"},
  };
  for (const auto& [text, expected] : wrong)
    EXPECT_THAT(message(text), AllOf(StartsWith("mine.json"), HasSubstr(expected))) << text;
}

TEST(Suites, AreFoundByNameAndByFile) {
  EXPECT_THAT(error_message([] { suite_cases("nope"); }),
              AllOf(HasSubstr("unknown suite 'nope'"), HasSubstr("llama-3.1-8b")));
  EXPECT_THAT(error_message([] { suite_cases("no/such"); }), HasSubstr("no/such: cannot be read"));
  EXPECT_THAT(error_message([] { suite_cases("./"); }), HasSubstr("./: cannot be read: it is a directory"));
  const std::string path = testing::TempDir() + "strobe_suite_test.json";
  std::ofstream(path) << with_cases(R"({"routine": "rmsnorm", "hidden": [4, 8]})");
  EXPECT_EQ(suite_cases(path).size(), 2u);
  fs::remove(path);
}

TEST(Suites, BuiltInFilesAreNamedAfterTheirContent) {
  for (const SuiteText& text : suite_texts()) {
    const Suite suite = parse_suite(text.name, text.json);
    EXPECT_EQ(suite.name, text.name);
    EXPECT_FALSE(suite.description.empty()) << text.name;
  }
}

TEST(Suites, AllHoldsEveryModel) {
  std::size_t cases = 0;
  for (const SuiteText& suite : suite_texts())
    if (suite.name != "quick" && suite.name != "all") cases += suite_cases(suite.name).size();
  EXPECT_EQ(suite_cases("all").size(), cases);
}

// The distinct values that a suite gives a parameter of a routine.
std::set<std::string> values(std::string_view suite, std::string_view routine, std::string_view parameter) {
  std::set<std::string> found;
  for (const BenchCase& one : suite_cases(suite))
    if (one.routine.routine.name == routine) found.insert(one.values.text(parameter));
  return found;
}

TEST(Suites, Llama8bHoldsEveryOperatorOfALayer) {
  EXPECT_EQ(suite_cases("llama-3.1-8b").size(), 40u);
  std::set<std::string> routines;
  for (const BenchCase& one : suite_cases("llama-3.1-8b")) routines.insert(one.routine.routine.name);
  for (const char* routine : {"rmsnorm", "fused_add_rmsnorm", "apply_rope_pos_ids", "append_paged_kv_cache",
                              "silu_and_mul", "single_decode", "single_prefill", "batch_decode_paged",
                              "batch_prefill_paged", "batch_prefill_ragged", "batch_mixed_paged"})
    EXPECT_TRUE(routines.contains(routine)) << routine;
  EXPECT_THAT(values("llama-3.1-8b", "batch_decode_paged", "page_size"), ElementsAre("1", "16", "64"));
  EXPECT_THAT(values("llama-3.1-8b", "batch_decode_paged", "batch_size"), ElementsAre("1", "16", "64"));
}

// Published sizes of the models.
struct Model {
  const char *suite, *hidden, *intermediate, *qo_heads, *kv_heads, *head_dim, *rope_theta;
};
constexpr Model kModels[] = {
    {"llama-3.1-8b", "4096", "14336", "32", "8", "128", "500000"},
    {"llama-3.1-70b-tp8", "8192", "3584", "8", "1", "128", "500000"},
    {"qwen3-32b", "5120", "25600", "64", "8", "128", "1000000"},
    {"gpt-oss-120b", "2880", nullptr, "64", "8", "64", "150000"},
};

TEST(Suites, HaveTheShapesOfTheirModels) {
  for (const Model& model : kModels) {
    SCOPED_TRACE(model.suite);
    EXPECT_THAT(values(model.suite, "fused_add_rmsnorm", "hidden"), ElementsAre(model.hidden));
    if (model.intermediate != nullptr)
      EXPECT_THAT(values(model.suite, "silu_and_mul", "hidden"), ElementsAre(model.intermediate));
    else
      EXPECT_TRUE(values(model.suite, "silu_and_mul", "hidden").empty()) << "its MLP is a mixture of experts";
    EXPECT_THAT(values(model.suite, "apply_rope_pos_ids", "rope_theta"), ElementsAre(model.rope_theta));
    EXPECT_THAT(values(model.suite, "append_paged_kv_cache", "num_kv_heads"), ElementsAre(model.kv_heads));
    EXPECT_THAT(values(model.suite, "append_paged_kv_cache", "head_dim"), ElementsAre(model.head_dim));
    for (const char* attention :
         {"batch_decode_paged", "batch_prefill_paged", "batch_prefill_ragged", "batch_mixed_paged"}) {
      EXPECT_THAT(values(model.suite, attention, "num_qo_heads"), ElementsAre(model.qo_heads)) << attention;
      EXPECT_THAT(values(model.suite, attention, "num_kv_heads"), ElementsAre(model.kv_heads)) << attention;
      EXPECT_THAT(values(model.suite, attention, "head_dim_qk"), ElementsAre(model.head_dim)) << attention;
      EXPECT_THAT(values(model.suite, attention, "head_dim_vo"), ElementsAre(model.head_dim)) << attention;
    }
  }
  EXPECT_THAT(values("qwen3-32b", "rmsnorm", "hidden"), ElementsAre("128", "5120")) << "norms of heads";
  EXPECT_THAT(values("gpt-oss-120b", "batch_decode_paged", "sinks"), ElementsAre("true"));
  EXPECT_THAT(values("gpt-oss-120b", "batch_decode_paged", "window_left"), ElementsAre("-1", "127"));
}

}  // namespace
}  // namespace strobe::bench
