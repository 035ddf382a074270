// Data sets on disk: layout, appends that survive, validation, scores.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "core/safetensors.h"
#include "support/sweep.h"
#include "trace/data_set.h"
#include "trace/files.h"
#include "trace/json_text.h"
#include "trace/summary.h"
#include "trace/validate.h"

namespace strobe::trace {
namespace {

namespace fs = std::filesystem;
using test::error_message;
using testing::AllOf;
using testing::Contains;
using testing::Field;
using testing::HasSubstr;

class DataSetTest : public testing::Test {
 protected:
  DataSetTest() : root_(fs::temp_directory_path() / fmt::format("strobe_data_set_{}", getpid())) {
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  ~DataSetTest() override { fs::remove_all(root_); }

  static Definition definition() {
    return read_definition(
        parse_json(
            R"({"name": "copy_n2", "op_type": "copy", "axes": {"rows": {"type": "var"}, "n": {"type": "const", "value": 2}},
      "inputs": {"x": {"shape": ["rows", "n"], "dtype": "float32"}, "indptr": {"shape": ["rows"], "dtype": "int32"}, "s": {"shape": null, "dtype": "float32"}},
      "outputs": {"y": {"shape": ["rows", "n"], "dtype": "float32"}},
      "reference": "def run(x, indptr, s):\n  return x\n", "constraints": ["rows == indptr[-1].item() + 1"]})",
            "d"),
        "d");
  }
  static Solution solution(const std::string& name, const std::string& author) {
    return read_solution(parse_json(fmt::format(R"({{"name": "{}", "definition": "copy_n2", "author": "{}",
      "spec": {{"language": "python", "target_hardware": ["CPU"], "entry_point": "main.py::run"}},
      "sources": [{{"path": "main.py", "content": "def run(): '{}'"}}]}})",
                                                name, author, name),
                                    "s"),
                         "s");
  }
  static Trace workload(const std::string& uuid, std::int64_t rows = 3) {
    return {
        .definition = "copy_n2",
        .workload = {.axes = {{"rows", rows}},
                     .inputs = {{"x", RandomInput{}},
                                {"indptr", FileInput{"blob/workloads/copy/copy_n2/t.safetensors", "indptr"}},
                                {"s", ScalarInput{0.5}}},
                     .uuid = uuid},
        .solution = {},
        .evaluation = {}};
  }
  static Trace passed(const std::string& uuid, const std::string& solution, double ms) {
    Trace trace = workload(uuid);
    trace.solution = solution;
    trace.evaluation = Evaluation{.status = Status::kPassed,
                                  .environment = {"H200", {}},
                                  .timestamp = "2026-11-20T12:00:00",
                                  .log = "",
                                  .correctness = Correctness{},
                                  .performance = Performance{ms, 8, 8 / ms}};
    return trace;
  }
  static Trace failed(const std::string& uuid, const std::string& solution) {
    Trace trace = passed(uuid, solution, 1);
    trace.evaluation->status = Status::kTimeout;
    trace.evaluation->correctness.reset();
    trace.evaluation->performance.reset();
    return trace;
  }

  // A whole data set without faults.
  DataSet make() const {
    DataSet set(root_);
    set.add(definition());
    set.add(solution("base", "baseline"));
    set.add(solution("fast", "someone"));
    set.add(workload("w1"));
    set.add(workload("w2"));
    Tensor indptr(Dtype::kI32, {3});
    for (int i = 0; i < 3; ++i) indptr.as<std::int32_t>()[i] = i;
    fs::create_directories(root_ / "blob/workloads/copy/copy_n2");
    write_safetensors((root_ / "blob/workloads/copy/copy_n2/t.safetensors").string(),
                      {{{"indptr", indptr.view()}}});
    for (const char* uuid : {"w1", "w2"}) {
      set.add(passed(uuid, "base", 4));
      set.add(passed(uuid, "fast", 2));
    }
    return set;
  }
  void put(const std::string& file, std::string_view text) const {
    fs::create_directories((root_ / file).parent_path());
    std::ofstream(root_ / file) << text;
  }
  std::vector<Message> messages(Check check, Dialect dialect = Dialect::kBench) const {
    std::vector<Message> all;
    for (const DefinitionReport& report : validate({.data_set = root_.string(), .dialect = dialect}))
      for (const Message& message : report.messages[static_cast<int>(check)]) all.push_back(message);
    return all;
  }

  fs::path root_;
};

auto error_with(const std::string& text) {
  return Contains(AllOf(Field(&Message::level, Level::kError), Field(&Message::text, HasSubstr(text))));
}

TEST_F(DataSetTest, IsReadBackAsItWasWritten) {
  make();
  const DataSet set(root_);
  EXPECT_EQ(one_line(to_json(*set.definition("copy_n2"))), one_line(to_json(definition())));
  EXPECT_EQ(set.solutions_of("copy_n2").size(), 2u);
  EXPECT_EQ(set.workloads_of("copy_n2").size(), 2u);
  EXPECT_EQ(set.traces_of("copy_n2").size(), 4u);
  EXPECT_TRUE(fs::exists(root_ / "traces/someone/copy/copy_n2.jsonl"));
  EXPECT_TRUE(fs::exists(root_ / "solutions/baseline/copy/copy_n2/base.json"));
  for (const DefinitionReport& report : validate({.data_set = root_.string()}))
    EXPECT_EQ(report.status(), Level::kInfo) << text_report({report});
}

TEST_F(DataSetTest, RefusesWhatWouldNotBeFoundAgain) {
  DataSet set = make();
  EXPECT_THAT(error_message([&] { set.add(definition()); }),
              HasSubstr("a definition named 'copy_n2' already"));
  EXPECT_THAT(error_message([&] { set.add(passed("w1", "none", 1)); }), HasSubstr("no solution 'none'"));
  Solution stray = solution("../../escape", "a");
  EXPECT_THAT(error_message([&] { set.add(stray); }), HasSubstr("a name that can be a file's"));
  EXPECT_THAT(error_message([] { DataSet("no such folder"); }),
              HasSubstr("no such folder: expected the folder"));
}

TEST_F(DataSetTest, AppendsOfManyWritersAllArrive) {
  const fs::path file = root_ / "traces.jsonl";
  constexpr int kWriters = 6, kLines = 40;
  const auto write = [&](int writer) {
    for (int line = 0; line < kLines; ++line)
      append_line(
          file, fmt::format(R"({{"writer":{},"line":{},"pad":"{}"}})", writer, line, std::string(5000, 'x')));
  };
  std::vector<pid_t> children;
  for (int writer = 0; writer < kWriters / 2; ++writer)
    if (const pid_t child = fork(); child == 0) {
      write(writer);
      _exit(0);
    } else {
      children.push_back(child);
    }
  std::vector<std::thread> threads;
  for (int writer = kWriters / 2; writer < kWriters; ++writer) threads.emplace_back(write, writer);
  for (std::thread& thread : threads) thread.join();
  for (const pid_t child : children) waitpid(child, nullptr, 0);
  const std::string text = read_file(file);
  std::map<int, int> next;
  for (const Line& line : lines_of(text)) {
    const Json json = parse_json(line.text, "traces.jsonl", line.number);
    EXPECT_EQ(json["line"].get<int>(), next[json["writer"].get<int>()]++);
  }
  for (int writer = 0; writer < kWriters; ++writer) EXPECT_EQ(next[writer], kLines);
}

TEST_F(DataSetTest, ATornLastLineCostsNoOther) {
  make();
  const std::string file = "traces/someone/copy/copy_n2.jsonl";
  std::ofstream(root_ / file, std::ios::app) << R"({"definition": "copy_n2", "sol)";
  append_line(root_ / file, one_line(to_json(passed("w1", "fast", 1))));
  std::vector<Problem> problems;
  const DataSet set(root_, Dialect::kBench, [&](const Problem& problem) { problems.push_back(problem); });
  EXPECT_EQ(set.traces_of("copy_n2").size(), 5u);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_THAT(problems[0].message, HasSubstr(file + ":3:"));
  EXPECT_THAT(messages(Check::kTrace), error_with(file + ":3:"));
}

TEST_F(DataSetTest, WritingReportsAFullDisk) {
  EXPECT_THAT(error_message([] { append_line("/dev/full", "line"); }),
              AllOf(HasSubstr("/dev/full"), HasSubstr("No space")));
  EXPECT_THAT(error_message([&] { write_file(root_ / "a" / std::string(300, 'n'), "x"); }),
              HasSubstr("File name too long"));
}

TEST_F(DataSetTest, ValidationFindsPlantedFaults) {
  make();
  put("definitions/copy/broken.json", "{\"name\": 1,\n oops}");
  put("definitions/elsewhere/copy2.json", indented([] {
        Definition other = definition();
        other.name = "copy2";
        return to_json(other);
      }()));
  put("solutions/a/copy/copy_n2/twin.json", indented([] {
        Solution twin = solution("fast", "someone");
        twin.name = "twin";
        twin.author = "a";
        return to_json(twin);
      }()));
  put("solutions/a/copy/gone/s.json", indented([] {
        Solution stray = solution("stray", "a");
        stray.definition = "gone";
        return to_json(stray);
      }()));
  EXPECT_THAT(messages(Check::kDefinition), error_with("definitions/copy/broken.json:2:2:"));
  EXPECT_THAT(messages(Check::kLayout), error_with("expected at definitions/copy/copy2.json"));
  EXPECT_THAT(messages(Check::kSolution), error_with("there is no definition 'gone'"));
  EXPECT_THAT(messages(Check::kSolution),
              Contains(Field(&Message::text, HasSubstr("its sources are those of 'fast'"))));
}

TEST_F(DataSetTest, ValidationFindsFaultsOfWorkloads) {
  DataSet set = make();
  Trace wrong = workload("w3", 4);  // the tensor has 3 elements, and the constraint wants 3 rows
  wrong.workload.axes.emplace_back("n", 2);
  wrong.workload.inputs[0].second = ScalarInput{std::int64_t{1}};
  wrong.workload.inputs[2].first = "t";
  set.add(wrong);
  Trace zero = workload("w1", 0);
  std::get<FileInput>(zero.workload.inputs[1].second).path = "blob/none.safetensors";
  set.add(zero);
  const std::vector<Message> found = messages(Check::kWorkload);
  for (const char* text :
       {"axis 'n' is no variable axis", "input 'x' is a tensor, and its value a scalar",
        "input 's' is missing", "input 't' is none of the definition",
        "expected the shape [4] (rows), got [3]", "constraint 'rows == indptr[-1].item() + 1' does not hold",
        "axis 'rows': expected a size above 0, got 0", "there is no file blob/none.safetensors",
        "uuid w1 is that of another workload"})
    EXPECT_THAT(found, error_with(text)) << text;
}

TEST_F(DataSetTest, ValidationKnowsGitLfsPointers) {
  make();
  put("blob/workloads/copy/copy_n2/t.safetensors",
      "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n");
  EXPECT_THAT(messages(Check::kWorkload), error_with("git lfs pull"));
}

TEST_F(DataSetTest, ValidationFindsFaultsOfTraces) {
  make();
  const std::string file = "traces/someone/copy/copy_n2.jsonl";
  Trace other_axes = passed("w1", "fast", 1), infinite = passed("w2", "fast", 1),
        unknown = passed("w9", "fast", 1);
  other_axes.workload.axes[0].second = 7;
  infinite.evaluation->correctness->max_absolute_error = std::numeric_limits<double>::infinity();
  for (const Trace* trace : {&other_axes, &infinite, &unknown})
    append_line(root_ / file, one_line(to_json(*trace)));
  append_line(root_ / file, one_line(to_json(workload("w1"))));
  const std::vector<Message> found = messages(Check::kTrace);
  EXPECT_THAT(found, error_with(file + ":3: its axes are not those of workload w1"));
  EXPECT_THAT(found, error_with(":4: it passed, and an error is not finite"));
  EXPECT_THAT(found, Contains(Field(&Message::text, HasSubstr("workload w9 is not among the workloads"))));
  EXPECT_THAT(found, error_with(":6: expected a solution and its evaluation"));
}

TEST_F(DataSetTest, ReportsHaveTheShapeOfFlashInferBench) {
  make();
  const ValidationOptions options{.data_set = root_.string(), .checks = {Check::kTrace}};
  const Json json = parse_json(json_report(validate(options), options), "report");
  EXPECT_EQ(one_line(json["definitions"]),
            R"({"copy_n2":{"status":"info","layout":null,"definition":null,"workload":null,"solution":null,)"
            R"("trace":{"status":"info","messages":[]},"baseline":null}})");
  EXPECT_EQ(one_line(json["config"]["checks"]), R"(["trace"])");
}

TEST_F(DataSetTest, ScoresAreMeansOverWorkloadsAndZeroAfterAFailure) {
  DataSet set = make();
  set.add(solution("odd", "other"));
  set.add(passed("w1", "odd", 0.5));
  set.add(failed("w2", "odd"));
  std::vector<SolutionScore> scores = score_solutions(set, *set.definition("copy_n2"));
  ASSERT_EQ(scores.size(), 3u);
  EXPECT_EQ(scores[0].solution->name, "fast");
  EXPECT_DOUBLE_EQ(scores[0].score, 2);  // over the baseline's 4 ms
  EXPECT_EQ(scores[2].solution->name, "odd");
  EXPECT_EQ(scores[2].score, 0);
  EXPECT_EQ(scores[2].failed, 1);
  const std::vector<AuthorScore> authors = rank_authors(set);
  ASSERT_EQ(authors.size(), 3u);
  EXPECT_EQ(authors[0].author, "someone");
  EXPECT_EQ(authors[0].wins, 1);
  EXPECT_EQ(authors[2].wins, 0);
  set.add(solution("second base", "baseline"));  // two baselines are none
  scores = score_solutions(set, *set.definition("copy_n2"));
  EXPECT_DOUBLE_EQ(scores[0].score, 4);  // over the reference's 8 ms
}

TEST_F(DataSetTest, ScoresOfOneMachine) {
  DataSet set = make();
  Trace elsewhere = passed("w1", "fast", 0.001);
  elsewhere.evaluation->environment.hardware = "another";
  set.add(elsewhere);
  ASSERT_EQ(set.hardware().size(), 2u);
  const std::string own = set.hardware()[0] == "another" ? set.hardware()[1] : set.hardware()[0];
  EXPECT_GT(score_solutions(set, *set.definition("copy_n2"))[0].score, 1000);
  set.keep_traces_on(own);
  EXPECT_EQ(set.hardware(), std::vector<std::string>{own});
  EXPECT_DOUBLE_EQ(score_solutions(set, *set.definition("copy_n2"))[0].score, 2);
}

}  // namespace
}  // namespace strobe::trace
