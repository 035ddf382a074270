// Calls recorded as workloads: which, what of them, and what bounds, crashes and full disks do.
#include "strobe/record.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "core/safetensors.h"
#include "support/sweep.h"
#include "trace/data_set.h"
#include "trace/files.h"
#include "trace/json_text.h"
#include "trace/validate.h"

namespace strobe::trace {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class RecordTest : public testing::Test {
 protected:
  RecordTest() : root_(fs::temp_directory_path() / fmt::format("strobe_record_{}", getpid())) {
    fs::remove_all(root_);
    fs::create_directories(root_);
    DataSet(root_).add(read_definition(parse_json(R"json({"name": "ragged", "op_type": "gqa_ragged",
      "axes": {"total_kv": {"type": "var"}, "len_indptr": {"type": "var"}, "n": {"type": "const", "value": 2}},
      "inputs": {"k": {"shape": ["total_kv", "n"], "dtype": "float32"},
                 "kv_indptr": {"shape": ["len_indptr"], "dtype": "int32"},
                 "sm_scale": {"shape": null, "dtype": "float32"}},
      "outputs": {"out": {"shape": ["total_kv", "n"], "dtype": "float32"}},
      "reference": "def run(k, kv_indptr, sm_scale):\n  return k\n",
      "constraints": ["total_kv == kv_indptr[-1].item()"]})json",
                                                  "d"),
                                       "d"));
  }
  ~RecordTest() override { fs::remove_all(root_); }

  RecordOptions options(RecordRule rule) const {
    return {.data_set = root_.string(), .rule = std::move(rule)};
  }
  std::vector<Workload> workloads() const {
    std::vector<Workload> list;
    const DataSet set(root_);
    for (const auto& stored : set.workloads()) list.push_back(stored.item.workload);
    return list;
  }
  // The total_kv of the workloads there are.
  std::vector<std::int64_t> sizes() const {
    std::vector<std::int64_t> list;
    for (const Workload& workload : workloads()) list.push_back(*workload.axis("total_kv"));
    return list;
  }
  static Json passed_over(const WorkloadRecorder& recorder) {
    return parse_json(recorder.statistics(), "s")["definitions"]["ragged"]["passed over"];
  }

  fs::path root_;
};

// A call of `requests` requests with `total` rows of keys in all.
struct Call {
  Call(std::int64_t total, std::int64_t requests)
      : k(static_cast<std::size_t>(total) * 2), indptr(static_cast<std::size_t>(requests) + 1) {
    for (std::size_t i = 0; i < k.size(); ++i) k[i] = static_cast<float>(i);
    indptr.back() = static_cast<std::int32_t>(total);
    k_shape[0] = total;
    indptr_shape[0] = requests + 1;
    tensors[0] = {k.data(), 1, 0, 2, 2, 32, 1, k_shape, nullptr, 0};
    tensors[1] = {indptr.data(), 1, 0, 1, 0, 32, 1, indptr_shape, nullptr, 0};
  }
  bool operator()(WorkloadRecorder& recorder) const {
    return recorder.record("ragged",
                           {strobe_tensor(&tensors[0]), strobe_tensor(&tensors[1]), strobe_float(0.25)});
  }
  std::vector<float> k;
  std::vector<std::int32_t> indptr;
  std::int64_t k_shape[2] = {0, 2}, indptr_shape[1] = {0};
  StrobeTensor tensors[2];
};

TEST_F(RecordTest, AWorkloadHasSizesScalarsAndIndices) {
  WorkloadRecorder recorder(options({}));
  EXPECT_TRUE(Call(5, 2)(recorder));
  const std::vector<Workload> list = workloads();
  ASSERT_EQ(list.size(), 1u);
  EXPECT_THAT(list[0].axes, ElementsAre(std::pair("total_kv", 5), std::pair("len_indptr", 3)));
  EXPECT_TRUE(std::holds_alternative<RandomInput>(*list[0].input("k")));
  EXPECT_EQ(std::get<double>(std::get<ScalarInput>(*list[0].input("sm_scale")).value), 0.25);
  const auto& file = std::get<FileInput>(*list[0].input("kv_indptr"));
  const Tensor indptr = read_safetensors_tensor((root_ / file.path).string(), file.tensor_key);
  EXPECT_THAT(std::vector(indptr.as<std::int32_t>(), indptr.as<std::int32_t>() + 3), ElementsAre(0, 0, 5));
  // What was recorded can be benchmarked: the validator finds no fault with it.
  for (const DefinitionReport& report : validate({.data_set = root_.string(), .checks = {Check::kWorkload}}))
    EXPECT_EQ(report.status(), Level::kInfo) << text_report({report});
}

TEST_F(RecordTest, AllValuesOrNamedOnesOrNone) {
  const auto stored = [&](const RecordRule& rule) {
    WorkloadRecorder recorder(options(rule));
    EXPECT_TRUE(Call(5, 2)(recorder));
    std::string names;
    const std::vector<Workload> list = workloads();
    for (const auto& [name, input] : list.back().inputs)
      if (std::holds_alternative<FileInput>(input)) names += name + " ";
    return names;
  };
  const RecordKeep all = RecordKeep::kAll;
  EXPECT_EQ(stored({.keep = all, .values = RecordValues::kAll}), "k kv_indptr ");
  EXPECT_EQ(stored({.keep = all, .values = RecordValues::kNamed, .names = {"k", "sm_scale"}}), "k ");
  EXPECT_EQ(stored({.keep = all, .values = RecordValues::kNone}), "");
}

TEST_F(RecordTest, TensorsWithGapsAreStoredWithout) {
  WorkloadRecorder recorder(options({.values = RecordValues::kAll}));
  Call call(3, 1);
  std::int64_t strides[2] = {1, 3};  // the transpose
  call.tensors[0].strides = strides;
  EXPECT_TRUE(call(recorder));
  const auto file = std::get<FileInput>(*workloads()[0].input("k"));
  const Tensor k = read_safetensors_tensor((root_ / file.path).string(), "k");
  EXPECT_THAT(std::vector(k.as<float>(), k.as<float>() + 6), ElementsAre(0, 3, 1, 4, 2, 5));
}

TEST_F(RecordTest, RulesSayWhichCallsAreKept) {
  const auto kept = [&](const RecordRule& rule) {
    fs::remove_all(root_ / "workloads");
    WorkloadRecorder recorder(options(rule));
    for (const auto& [total, requests] : {std::pair{10, 2}, {10, 2}, {11, 2}, {10, 2}, {40, 2}, {15, 3}})
      Call(total, requests)(recorder);
    return sizes();
  };
  EXPECT_THAT(kept({.keep = RecordKeep::kAll}), ElementsAre(10, 10, 11, 10, 40, 15));
  EXPECT_THAT(kept({.keep = RecordKeep::kNone}), ElementsAre());
  EXPECT_THAT(kept({.keep = RecordKeep::kFirst, .count = 2}), ElementsAre(10, 10));
  EXPECT_THAT(kept({.keep = RecordKeep::kFirstByAxes}), ElementsAre(10, 11, 40, 15));
  EXPECT_THAT(kept({.keep = RecordKeep::kFirstByAxes, .count = 2}), ElementsAre(10, 10, 11, 40, 15));
  // 11 rows of two requests are 5.5 on the average, which is rounded to 6.
  EXPECT_THAT(kept({.keep = RecordKeep::kFirstByAverageLength}), ElementsAre(10, 11, 40, 15));
  EXPECT_THAT(kept({.keep = RecordKeep::kFirstByAverageLength, .count = 9}),
              ElementsAre(10, 10, 11, 10, 40, 15));
}

TEST_F(RecordTest, EqualAveragesAreOneWorkload) {
  WorkloadRecorder recorder(options({.keep = RecordKeep::kFirstByAverageLength}));
  EXPECT_TRUE(Call(400, 4)(recorder));
  EXPECT_FALSE(Call(401, 4)(recorder));
  EXPECT_FALSE(Call(399, 4)(recorder));
  EXPECT_TRUE(Call(404, 4)(recorder));
  EXPECT_TRUE(Call(100, 1)(recorder)) << "as long, but of another number of requests";
}

TEST_F(RecordTest, ACachesSizeMakesNoOtherWorkload) {
  DataSet(root_).add(read_definition(parse_json(R"json({"name": "paged", "op_type": "gqa_paged",
      "axes": {"num_pages": {"type": "var"}, "num_kv_indices": {"type": "var"}, "batch_size": {"type": "var"}},
      "inputs": {"cache": {"shape": ["num_pages"], "dtype": "float32"},
                 "kv_indices": {"shape": ["num_kv_indices"], "dtype": "int32"},
                 "last": {"shape": ["batch_size"], "dtype": "int32"}},
      "outputs": {"out": {"shape": ["batch_size"], "dtype": "float32"}},
      "reference": "def run(*args):\n  return args\n"})json",
                                                "d"),
                                     "d"));
  WorkloadRecorder recorder(options({.keep = RecordKeep::kFirstByAverageLength}));
  std::vector<float> cache(64);
  std::vector<std::int32_t> indices(64);
  const auto record = [&](std::int64_t pages, std::int64_t used, std::int64_t requests) {
    StrobeTensor tensors[3] = {{cache.data(), 1, 0, 1, 2, 32, 1, &pages, nullptr, 0},
                               {indices.data(), 1, 0, 1, 0, 32, 1, &used, nullptr, 0},
                               {indices.data(), 1, 0, 1, 0, 32, 1, &requests, nullptr, 0}};
    return recorder.record(
        "paged", {strobe_tensor(&tensors[0]), strobe_tensor(&tensors[1]), strobe_tensor(&tensors[2])});
  };
  EXPECT_TRUE(record(10, 30, 3));
  EXPECT_FALSE(record(64, 31, 3));
  EXPECT_TRUE(record(64, 31, 2));
  EXPECT_TRUE(record(10, 60, 3));
}

TEST_F(RecordTest, WhatTheDataSetHasCounts) {
  {
    WorkloadRecorder recorder(options({}));
    EXPECT_TRUE(Call(5, 2)(recorder));
  }
  WorkloadRecorder again(options({}));
  EXPECT_FALSE(Call(5, 2)(again));
  EXPECT_TRUE(Call(6, 2)(again));
  EXPECT_EQ(passed_over(again), Json({{"the rule", 1}}));
}

TEST_F(RecordTest, ItStopsAtItsBounds) {
  RecordOptions few = options({.keep = RecordKeep::kAll});
  few.max_workloads = 2;
  WorkloadRecorder recorder(few);
  EXPECT_TRUE(Call(5, 2)(recorder));
  EXPECT_TRUE(Call(5, 2)(recorder));
  EXPECT_FALSE(Call(5, 2)(recorder));
  EXPECT_EQ(passed_over(recorder), Json({{"max_workloads", 1}}));
  RecordOptions small = options({.keep = RecordKeep::kAll, .values = RecordValues::kAll});
  small.max_bytes = 1000;  // those of the two workloads above count
  WorkloadRecorder other(small);
  EXPECT_FALSE(Call(200, 2)(other));
  EXPECT_TRUE(Call(5, 2)(other));
  EXPECT_EQ(passed_over(other), Json({{"max_bytes", 1}}));
  EXPECT_EQ(workloads().size(), 3u);
}

TEST_F(RecordTest, WhatDoesNotFitIsPassedOverWithAReason) {
  WorkloadRecorder recorder(options({}));
  Call call(5, 2);
  call.tensors[0].dtype_bits = 16;
  EXPECT_FALSE(call(recorder));
  EXPECT_FALSE(recorder.record("nothing", {}));
  EXPECT_THAT(recorder.statistics(), HasSubstr("k: expected float32, got float16"));
  EXPECT_THAT(recorder.statistics(), HasSubstr("there is no definition 'nothing'"));
}

TEST_F(RecordTest, ADiskThatRefusesEndsTheRecordingOnly) {
  write_file(root_ / "blob/workloads/gqa_ragged/ragged", "a file where the folder belongs");
  WorkloadRecorder recorder(options({.keep = RecordKeep::kAll}));
  testing::internal::CaptureStderr();
  EXPECT_FALSE(Call(5, 2)(recorder));
  EXPECT_FALSE(Call(5, 2)(recorder));
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_THAT(text, HasSubstr("strobe: no more calls are recorded: "));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
  EXPECT_THAT(workloads(), testing::IsEmpty());
}

TEST_F(RecordTest, ALineThatACrashCutShortCostsNoOther) {
  {
    WorkloadRecorder recorder(options({}));
    EXPECT_TRUE(Call(5, 2)(recorder));
  }
  const fs::path file = root_ / "workloads/gqa_ragged/ragged.jsonl";
  write_file(file, read_file(file) + R"({"definition": "rag)");
  WorkloadRecorder recorder(options({}));
  EXPECT_TRUE(Call(6, 2)(recorder));
  int problems = 0;
  const DataSet set(root_, Dialect::kBench, [&](const Problem&) { ++problems; });
  EXPECT_EQ(set.workloads().size(), 2u);
  EXPECT_EQ(problems, 1);
}

}  // namespace
}  // namespace strobe::trace
