// apply(): which solution a call gets, and what it does where there is none.
#include "strobe/apply.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <new>
#include <thread>

#include "cpu/model_name.h"
#include "support/sweep.h"
#include "trace/apply/explain.h"
#include "trace/apply/table.h"
#include "trace/files.h"
#include "trace/json_text.h"

namespace {

std::atomic<std::uint64_t> allocations{0};

}  // namespace

// A hit must not allocate: counted here, for the whole program.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(bytes)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace strobe::trace {
namespace {

namespace fs = std::filesystem;
using test::error_message;
using testing::HasSubstr;

class ApplyTest : public testing::Test {
 protected:
  ApplyTest() : root_(fs::temp_directory_path() / fmt::format("strobe_apply_{}", getpid())) {
    fs::remove_all(root_);
    fs::create_directories(root_);
    set_ = std::make_unique<DataSet>(root_);
    set_->add(read_definition(parse_json(R"({"name": "scale_n4", "op_type": "scale",
      "axes": {"rows": {"type": "var"}, "num_pages": {"type": "var"}, "n": {"type": "const", "value": 4}},
      "inputs": {"x": {"shape": ["rows", "n"], "dtype": "float32"},
                 "pages": {"shape": ["num_pages"], "dtype": "int32"}, "s": {"shape": null, "dtype": "float32"}},
      "outputs": {"y": {"shape": ["rows", "n"], "dtype": "float32"}},
      "reference": "def run(x, pages, s):\n  return x * s\n"})",
                                         "d"),
                              "d"));
    for (const char* name : {"a", "b", "c"})
      set_->add(
          read_solution(parse_json(fmt::format(R"({{"name": "{}", "definition": "scale_n4", "author": "me",
        "spec": {{"language": "python", "target_hardware": ["CPU"], "entry_point": "main.py::run"}},
        "sources": [{{"path": "main.py", "content": "def run(): '{}'"}}]}})",
                                               name, name),
                                   "s"),
                        "s"));
  }
  ~ApplyTest() override { fs::remove_all(root_); }

  void measured(const std::string& solution, std::int64_t rows, double ms, Status status = Status::kPassed,
                const std::string& workload = "", const std::string& hardware = cpu::model_name(),
                double error = 0) {
    Trace trace{
        .definition = "scale_n4",
        .workload = {.axes = {{"num_pages", 8}, {"rows", rows}},
                     .inputs = {{"x", RandomInput{}}, {"pages", RandomInput{}}, {"s", ScalarInput{2.0}}},
                     .uuid = workload.empty() ? fmt::format("w{}", rows) : workload},
        .solution = solution,
        .evaluation = Evaluation{.status = status,
                                 .environment = {hardware, {}},
                                 .timestamp = "2026-11-20T12:00:00",
                                 .log = "",
                                 .correctness = {},
                                 .performance = {}}};
    if (status == Status::kPassed) {
      trace.evaluation->correctness = Correctness{error, error, {}};
      trace.evaluation->performance = Performance{ms, 8, 8 / ms};
    }
    set_->add(trace);
  }

  Choice choose(std::int64_t rows, std::int64_t pages = 8, TableOptions options = {},
                const std::string& hardware = cpu::model_name()) const {
    return ApplyTable(*set_, options).choose("scale_n4", hardware, {rows, pages});
  }
  std::string solution_for(std::int64_t rows, std::int64_t pages = 8, TableOptions options = {},
                           const std::string& hardware = cpu::model_name()) const {
    const Choice choice = choose(rows, pages, options, hardware);
    return choice.solution == nullptr ? std::string(name(choice.route)) : choice.solution->name;
  }

  ApplyOptions options() const { return {.data_set = root_.string()}; }

  fs::path root_;
  std::unique_ptr<DataSet> set_;
};

TEST_F(ApplyTest, TheFastestPassedTraceOfThisHardwareWins) {
  measured("a", 4, 2);
  measured("b", 4, 1);
  measured("c", 4, 0.1, Status::kPassed, "", "another machine");
  measured("c", 8, 0.1, Status::kIncorrectShape);
  measured("b", 8, 3);
  EXPECT_EQ(solution_for(4), "b");
  EXPECT_EQ(solution_for(8), "b");
  EXPECT_EQ(solution_for(4, 8, {}, "another machine"), "c");
  EXPECT_EQ(solution_for(4, 8, {}, "a third"), "no traces");
  EXPECT_EQ(solution_for(5), "not measured");
  EXPECT_EQ(solution_for(4, 9), "not measured");
}

TEST_F(ApplyTest, TheLastTraceOfAWorkloadCountsAndItsTimesAreAveraged) {
  measured("a", 4, 5);
  measured("a", 4, 1);  // measured again
  measured("b", 4, 1.5);
  measured("b", 4, 0.1, Status::kPassed, "another workload of these sizes");  // mean 0.8
  EXPECT_EQ(solution_for(4), "b");
  measured("b", 4, 2.1, Status::kPassed, "another workload of these sizes");  // mean 1.8
  EXPECT_EQ(solution_for(4), "a");
}

TEST_F(ApplyTest, AFailureOnAnyWorkloadOfTheSizesTakesTheSolutionOut) {
  measured("a", 4, 2);
  measured("b", 4, 1);
  measured("b", 4, 1, Status::kRuntimeError, "another workload of these sizes");
  EXPECT_EQ(solution_for(4), "a");
  const ApplyTable table(*set_, {});
  EXPECT_EQ(table.measurements("scale_n4", cpu::model_name())->left_out,
            (std::map<std::string, int>{{"status RUNTIME_ERROR", 1},
                                        {"the solution fails on another workload of these sizes", 1}}));
}

TEST_F(ApplyTest, ErrorsBeyondTheBoundsDoNotCount) {
  measured("a", 4, 2, Status::kPassed, "", cpu::model_name(), 1e-3);
  measured("b", 4, 1, Status::kPassed, "", cpu::model_name(), 1e-2);
  measured("c", 4, 1, Status::kPassed, "", cpu::model_name(), std::nan(""));
  EXPECT_EQ(solution_for(4, 8, {.max_absolute_error = 5e-3}), "a");
  EXPECT_EQ(solution_for(4, 8, {.max_relative_error = 1e-5}), "no traces");
  EXPECT_EQ(solution_for(4, 8), "b") << "NaN is beyond every bound, even none";
}

TEST_F(ApplyTest, NearestKeepsItsBoundAndPassesOverCapacities) {
  measured("a", 64, 1);
  measured("b", 1024, 1);
  const TableOptions nearest{.on_miss = MissPolicy::kNearest};
  EXPECT_EQ(solution_for(100, 8, nearest), "a");
  EXPECT_EQ(solution_for(128, 8, nearest), "a");
  EXPECT_EQ(solution_for(129, 8, nearest), "not measured");
  EXPECT_EQ(solution_for(511, 8, nearest), "not measured");
  EXPECT_EQ(solution_for(512, 8, nearest), "b");
  EXPECT_EQ(solution_for(1024, 1000000, nearest), "b") << "num_pages says nothing of the work";
  EXPECT_EQ(solution_for(0, 8, nearest), "not measured");
  EXPECT_EQ(solution_for(200, 8, {.on_miss = MissPolicy::kNearest, .nearest_octaves = 8}), "a");
  EXPECT_EQ(solution_for(300, 8, {.on_miss = MissPolicy::kNearest, .nearest_octaves = 8}), "b");
  EXPECT_DOUBLE_EQ(choose(128, 8, nearest).distance, 1);
  const ApplyTable table(*set_, nearest);
  EXPECT_EQ(*table.choose("scale_n4", cpu::model_name(), {128, 8}).measured_at, (AxisValues{64, 8}));
}

TEST_F(ApplyTest, TheDefinitionsBestWinsMostSizes) {
  measured("a", 1, 0.001);
  measured("b", 2, 1);
  measured("a", 2, 2);
  measured("b", 4, 1);
  EXPECT_EQ(solution_for(77, 8, {.on_miss = MissPolicy::kBest}), "b");
  EXPECT_EQ(solution_for(1, 8, {.on_miss = MissPolicy::kBest}), "a");
}

TEST_F(ApplyTest, TheNextOneWinsWhereTheFirstCannotRun) {
  measured("a", 4, 1);
  measured("b", 4, 2);
  measured("a", 8, 1);
  ApplyTable table(*set_, {.on_miss = MissPolicy::kBest});
  table.leave_out(cpu::model_name(), [](const Solution& solution) -> std::optional<std::string> {
    if (solution.name == "a") return "no compiler";
    return std::nullopt;
  });
  EXPECT_EQ(table.choose("scale_n4", cpu::model_name(), {4, 8}).solution->name, "b");
  EXPECT_EQ(table.choose("scale_n4", cpu::model_name(), {8, 8}).route, Route::kBest);
  EXPECT_EQ(table.measurements("scale_n4", cpu::model_name())->left_out.at("no compiler"), 2);
}

// y = x * s, and s + 100 for solution "b".
int scale(void* self, const StrobeValue* arguments, std::int32_t count, StrobeValue*) {
  if (count != 4 || arguments[2].as.number == 13) return -1;
  const StrobeTensor &x = *arguments[0].as.tensor, &y = *arguments[3].as.tensor;
  const float more = self == nullptr ? 0 : *static_cast<const float*>(self);
  for (std::int64_t i = 0; i < x.shape[0] * x.shape[1]; ++i)
    static_cast<float*>(y.data)[i] =
        static_cast<const float*>(x.data)[i] * static_cast<float>(arguments[2].as.number) + more;
  return 0;
}

// The arguments of a call.
struct Call {
  explicit Call(std::int64_t rows, std::int64_t pages = 8)
      : x(static_cast<std::size_t>(rows * 4), 3),
        y(static_cast<std::size_t>(rows * 4), -1),
        page_numbers(static_cast<std::size_t>(pages), 0) {
    matrix_shape[0] = rows;
    pages_shape[0] = pages;
    tensors[0] = {x.data(), 1, 0, 2, 2, 32, 1, matrix_shape, nullptr, 0};
    tensors[1] = {page_numbers.data(), 1, 0, 1, 0, 32, 1, pages_shape, nullptr, 0};
    tensors[2] = {y.data(), 1, 0, 2, 2, 32, 1, matrix_shape, nullptr, 0};
  }
  bool operator()(const AppliedDefinition& definition) const {
    return definition({strobe_tensor(&tensors[0]), strobe_tensor(&tensors[1]), strobe_float(s),
                       strobe_tensor(&tensors[2])});
  }
  std::vector<float> x, y;
  std::vector<std::int32_t> page_numbers;
  std::int64_t matrix_shape[2] = {0, 4}, pages_shape[1] = {0};
  StrobeTensor tensors[3];
  double s = 2;
};

TEST_F(ApplyTest, ACallRunsTheSolutionOfItsSizes) {
  measured("a", 4, 1);
  measured("b", 8, 1);
  Apply apply(options());
  float more = 100;
  apply.provide("a", scale);
  apply.provide("b", scale, &more);
  const AppliedDefinition definition = apply.definition("scale_n4");
  Call four(4), eight(8), five(5);
  EXPECT_TRUE(four(definition));
  EXPECT_TRUE(eight(definition));
  EXPECT_FALSE(five(definition));
  EXPECT_THAT(four.y, testing::Each(6));
  EXPECT_THAT(eight.y, testing::Each(106));
  EXPECT_THAT(five.y, testing::Each(-1));
  const Json statistics = parse_json(apply.statistics(), "statistics")["definitions"]["scale_n4"];
  EXPECT_EQ(statistics["calls"], 3);
  EXPECT_EQ(statistics["applied"], 2);
  EXPECT_EQ(statistics["routes"], Json({{"exact", 2}, {"not measured", 1}}));
  EXPECT_THAT(apply.explain(), HasSubstr("rows=5 num_pages=8 on cpu: 1 calls, the fallback, not measured"));
}

TEST_F(ApplyTest, AHitAllocatesNothing) {
  measured("a", 4, 1);
  Apply apply(options());
  apply.provide("a", scale);
  const AppliedDefinition definition = apply.definition("scale_n4");
  Call hit(4), miss(5);
  hit(definition), miss(definition);
  const std::uint64_t before = allocations.load();
  for (int i = 0; i < 100; ++i) hit(definition), miss(definition);
  EXPECT_EQ(allocations.load(), before);
}

TEST_F(ApplyTest, ArgumentsOfAnotherKindHaveNoSolution) {
  measured("a", 4, 1);
  Apply apply(options());
  apply.provide("a", scale);
  const AppliedDefinition definition = apply.definition("scale_n4");
  const auto refused = [&](const char* why, const auto& change) {
    Call call(4);
    change(call);
    EXPECT_FALSE(call(definition)) << why;
    EXPECT_THAT(call.y, testing::Each(-1)) << why;
    EXPECT_EQ(parse_json(apply.statistics(), "s")["definitions"]["scale_n4"]["mismatches"][why], 1) << why;
  };
  std::int64_t gaps[2] = {8, 1}, five[2] = {4, 5}, other_rows[2] = {5, 4};
  refused("dtype", [](Call& call) { call.tensors[0].dtype_bits = 16; });
  refused("number of axes", [](Call& call) { call.tensors[1].rank = 2; });
  refused("shape", [&](Call& call) { call.tensors[0].shape = five; });
  refused("strides", [&](Call& call) { call.tensors[0].strides = gaps; });
  refused("device", [](Call& call) { call.tensors[2].device_type = 2; });
  EXPECT_THAT(apply.explain(), HasSubstr("the first: x: expected float32, got float16"));
  Call call(4);
  call.tensors[2].shape = other_rows;
  EXPECT_FALSE(call(definition)) << "an output of other sizes";
  EXPECT_FALSE(definition(
      {strobe_tensor(&call.tensors[0]), strobe_none(), strobe_float(2), strobe_tensor(&call.tensors[2])}));
  EXPECT_THAT(error_message([&] { definition({strobe_float(2)}); }),
              HasSubstr("apply: scale_n4: expected 3 inputs and 1 outputs, got 1 arguments"));
}

TEST_F(ApplyTest, StridesOfSingleElementsDoNotMatter) {
  measured("a", 1, 1);
  Apply apply(options());
  apply.provide("a", scale);
  Call call(1);
  std::int64_t strides[2] = {77, 1};
  call.tensors[0].strides = strides;
  EXPECT_TRUE(call(apply.definition("scale_n4")));
}

TEST_F(ApplyTest, WhatCannotRunHereSaysSo) {
  measured("a", 4, 1);
  Apply apply(options());
  Call call(4);
  EXPECT_FALSE(call(apply.definition("scale_n4"))) << "Python does not run in this process";
  EXPECT_FALSE(call(apply.definition("no_such_definition")));
  EXPECT_FALSE(call(AppliedDefinition()));
  EXPECT_THAT(apply.explain(), HasSubstr("the data set has no such definition"));
  EXPECT_THAT(error_message([&] { apply.provide("z", scale); }), HasSubstr("there is no solution 'z'"));
  EXPECT_THAT(error_message([] { Apply({.data_set = "/nowhere"}); }), HasSubstr("/nowhere"));
}

// A solution in C++ is built when Apply is made, and called without Python.
TEST_F(ApplyTest, SolutionsInCppAreBuiltAheadAndRun) {
  setenv("STROBE_CACHE_DIR", (root_ / "cache").c_str(), 1);
  const auto add = [&](const std::string& name, const std::string& source) {
    set_->add(read_solution(
        {{"name", name},
         {"definition", "scale_n4"},
         {"author", "me"},
         {"spec", {{"language", "cpp"}, {"target_hardware", {"CPU"}}, {"entry_point", "main.cc::run"}}},
         {"sources", {{{"path", "main.cc"}, {"content", source}}}}},
        "s"));
    measured(name, 4, name == "good" ? 2 : 1);
  };
  add("good", R"(#include <stdint.h>
struct Tensor { void* data; int32_t device[2], rank; uint8_t code, bits; uint16_t lanes; int64_t *shape, *strides; uint64_t offset; };
struct Any { int32_t kind; uint32_t zero; union { int64_t integer; double number; Tensor* tensor; }; };
extern "C" int __tvm_ffi_run(void*, const Any* a, int32_t, Any*) {
  for (int64_t i = 0; i < 4 * a[0].tensor->shape[0]; ++i)
    static_cast<float*>(a[3].tensor->data)[i] = static_cast<float*>(a[0].tensor->data)[i] + 40;
  return 0;
})");
  add("faulty", "no C++");
  const Apply apply(options());
  unsetenv("STROBE_CACHE_DIR");
  Call call(4);
  EXPECT_TRUE(call(apply.definition("scale_n4"))) << apply.explain();
  EXPECT_THAT(call.y, testing::Each(43));
}

TEST_F(ApplyTest, AFailingSolutionIsAnErrorThatNamesIt) {
  measured("a", 4, 1);
  Apply apply(options());
  apply.provide("a", scale);
  Call call(4);
  call.s = 13;
  EXPECT_THAT(error_message([&] { call(apply.definition("scale_n4")); }), HasSubstr("solution 'a'"));
}

TEST_F(ApplyTest, MoreSizesThanAreKeptAreStillRoutedAndCounted) {
  measured("a", 3, 1);
  Apply apply({.data_set = root_.string(), .on_miss = ApplyMiss::kNearest});
  apply.provide("a", scale);
  const AppliedDefinition definition = apply.definition("scale_n4");
  constexpr int kCalls = 3000;
  for (int pages = 1; pages <= kCalls; ++pages) ASSERT_TRUE(Call(3, pages)(definition)) << pages;
  EXPECT_FALSE(Call(30, kCalls)(definition));
  const Json statistics = parse_json(apply.statistics(), "s")["definitions"]["scale_n4"];
  EXPECT_EQ(statistics["routes"], Json({{"exact", 1}, {"nearest", kCalls - 1}, {"not measured", 1}}));
  EXPECT_LT(statistics["sizes"].size(), kCalls);
}

TEST_F(ApplyTest, ThreadsShareTheTable) {
  measured("a", 3, 1);
  Apply apply({.data_set = root_.string(), .on_miss = ApplyMiss::kBest});
  apply.provide("a", scale);
  constexpr int kThreads = 4, kSizes = 50;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&apply] {
      const AppliedDefinition definition = apply.definition("scale_n4");
      for (int rows = 1; rows <= kSizes; ++rows) {
        Call call(rows);
        EXPECT_TRUE(call(definition));
        EXPECT_THAT(call.y, testing::Each(6));
      }
    });
  for (std::thread& thread : threads) thread.join();
  const Json statistics = parse_json(apply.statistics(), "s")["definitions"]["scale_n4"];
  EXPECT_EQ(statistics["applied"], kThreads * kSizes);
  EXPECT_EQ(statistics["sizes"].size(), kSizes);
}

TEST_F(ApplyTest, FaultyFilesAreLeftOutAndNamed) {
  measured("a", 4, 1);
  write_file(root_ / "solutions/me/scale/scale_n4/broken.json", "{");
  Apply apply(options());
  apply.provide("a", scale);
  EXPECT_TRUE(Call(4)(apply.definition("scale_n4")));
  EXPECT_THAT(apply.explain(), HasSubstr("left out: solutions/me/scale/scale_n4/broken.json"));
}

TEST_F(ApplyTest, TheEnvironmentSaysDataSetAndPolicy) {
  unsetenv("STROBE_DATASET_PATH");
  unsetenv("FIB_DATASET_PATH");
  EXPECT_THAT(error_message([] { ApplyOptions::from_environment(); }), HasSubstr("FIB_DATASET_PATH"));
  setenv("FIB_DATASET_PATH", "/theirs", 1);
  EXPECT_EQ(ApplyOptions::from_environment().data_set, "/theirs");
  setenv("STROBE_DATASET_PATH", "/ours", 1);
  setenv("STROBE_APPLY_ON_MISS", "use_def_best", 1);
  EXPECT_EQ(ApplyOptions::from_environment().data_set, "/ours");
  EXPECT_EQ(ApplyOptions::from_environment().on_miss, ApplyMiss::kBest);
  setenv("STROBE_APPLY_ON_MISS", "guess", 1);
  EXPECT_THAT(error_message([] { ApplyOptions::from_environment(); }), HasSubstr("got 'guess'"));
  for (const char* name : {"STROBE_DATASET_PATH", "FIB_DATASET_PATH", "STROBE_APPLY_ON_MISS"}) unsetenv(name);
}

TEST_F(ApplyTest, StatisticsAreWrittenAtTheEnd) {
  measured("a", 4, 1);
  setenv("STROBE_APPLY_STATISTICS", (root_ / "statistics-%i.json").c_str(), 1);
  {
    Apply apply(options());
    apply.provide("a", scale);
    Call(4)(apply.definition("scale_n4"));
  }
  unsetenv("STROBE_APPLY_STATISTICS");
  const std::string text = read_file(root_ / fmt::format("statistics-{}.json", getpid()));
  EXPECT_THAT(statistics_text(parse_json(text, "s")),
              HasSubstr("scale_n4: 1 calls, 1 of them to a solution"));
  EXPECT_THAT(error_message([] { statistics_text(Json::object()); }), HasSubstr("statistics of apply"));
}

TEST_F(ApplyTest, ExplainSaysWhoWinsWhoLosesAndWhy) {
  measured("a", 4, 2);
  measured("b", 4, 1);
  measured("c", 4, 1, Status::kTimeout);
  measured("c", 4, 1, Status::kPassed, "", "another machine");
  const ApplyTable table(*set_, {});
  const std::string text = explanation_text(
      explain(*set_, table, {.hardware = {cpu::model_name()}, .axes = {{"rows", 4}, {"num_pages", 8}}}));
  EXPECT_THAT(text, HasSubstr("rows=4 num_pages=8: b 1.0000 ms, before a 2.0000 ms"));
  EXPECT_THAT(text, HasSubstr("1 left out: status TIMEOUT"));
  EXPECT_THAT(text, HasSubstr("another machine: not this machine"));
  EXPECT_THAT(text, HasSubstr("a call of rows=4 num_pages=8: b, exact"));
  EXPECT_THAT(error_message([&] { explain(*set_, table, {.definitions = {"x"}}); }),
              HasSubstr("no definition 'x'"));
  EXPECT_THAT(error_message([&] {
                explain(*set_, table, {.hardware = {cpu::model_name()}, .axes = {{"rows", 4}}});
              }),
              HasSubstr("rows=4"));
}

}  // namespace
}  // namespace strobe::trace
