// strobe bench on a GPU. Skipped where there is none; the emulated one shows what is done, not how long it
// takes: its events say one microsecond of everything.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "bench/gpu/kernel_recorder.h"
#include "bench/gpu/matrix_product.h"
#include "bench/result_file.h"
#include "cuda/device.h"
#include "op/device_operands.h"
#include "support/command.h"
#include "support/gpu.h"

namespace strobe {
namespace {

using Json = nlohmann::json;
using test::Folder;
using test::kGpu;
using test::Outcome;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class GpuBench : public test::GpuTest {
 protected:
  // The rows' file of a run that ends well.
  Json run(const std::string& flags) {
    const std::string file = folder_.file("out.json");
    outcome_ = test::strobe("bench " + flags + " --num_iters 2 --dry_run_iters 1 --json " + file);
    EXPECT_EQ(outcome_.status, 0) << outcome_.out << outcome_.err;
    text_ = test::read_text(file);
    return Json::parse(text_);
  }

  Folder folder_;
  Outcome outcome_{};
  std::string text_;
};

constexpr char kSmallNorm[] = "--routine rmsnorm --num_tokens 3 --hidden 128 ";

TEST_F(GpuBench, PlannedOperatorsRunAndReplay) {
  for (const char* graph : {"", " --cuda_graph"}) {
    const Json json =
        run(std::string("--routine batch_decode_paged --batch_size 2 --kv_len 40 --num_qo_heads 4 "
                        "--num_kv_heads 2 --head_dim_qk 64 --head_dim_vo 64 --device cuda --refcheck") +
            graph);
    const Json& row = json.at("rows").at(0);
    EXPECT_EQ(row.at("device"), "cuda:0");
    EXPECT_THAT(row.at("backend"), testing::AnyOf("cuda/auto", "cuda/sm80"));  // the second on an sm_80
    EXPECT_EQ(row.at("refcheck"), "pass");
  }
}

TEST_F(GpuBench, RowsSayWhereTheyRan) {
  const Json json = run(std::string(kSmallNorm) + "--device cuda --refcheck");
  const cuda::DeviceFacts& facts = cuda::device_facts(kGpu);
  const std::string architecture(cuda::name(*facts.architecture));
  const Json& row = json.at("rows").at(0);
  EXPECT_EQ(row.at("device"), "cuda:0");
  EXPECT_EQ(row.at("backend"), "cuda/sm80");
  EXPECT_EQ(row.at("architecture"), architecture);
  EXPECT_FALSE(row.contains("isa"));
  EXPECT_FALSE(row.contains("threads"));
  EXPECT_EQ(row.at("timed_by"), "events");
  EXPECT_EQ(row.at("refcheck"), "pass");
  EXPECT_EQ(row.at("roofline_bound"), "memory");
  EXPECT_GT(row.at("roofline_fraction").get<double>(), 0);
  EXPECT_GT(row.at("limits").at("copy_gbs").get<double>(), 0);
  EXPECT_TRUE(row.at("limits").at("fma_gflops").is_null()) << "not measured";
  EXPECT_EQ(json.at("machine").at("gpus").at(0).at("name"), facts.name);
  EXPECT_EQ(json.at("limits").at("before").at(0).at("device"), "cuda:0");
  EXPECT_THAT(outcome_.out, HasSubstr(facts.name));
  EXPECT_THAT(row.at("repro").get<std::string>(), HasSubstr("--device cuda:0 --backends cuda/sm80 "));
}

// A value of an environment variable while it lives.
class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) {
    if (const char* before = std::getenv(name); before != nullptr) before_ = before;
    ::setenv(name, value, 1);
  }
  ~Environment() { before_ ? ::setenv(name_, before_->c_str(), 1) : ::unsetenv(name_); }

 private:
  const char* name_;
  std::optional<std::string> before_;
};

// A stand-in for cuBLASLt, which multiplies nothing.
struct StandInCublasLt {
  explicit StandInCublasLt(const char* mode, const char* library = STROBE_FAKE_CUBLASLT)
      : library("STROBE_CUBLASLT", library), mode("FAKE_CUBLASLT", mode) {}
  Environment library, mode;
};

TEST_F(GpuBench, MatrixPeaksStandBesideTheOtherLimits) {
  const StandInCublasLt stand_in("");
  const Json json = run(std::string(kSmallNorm) + "--device cuda -v");
  const Json& row = json.at("rows").at(0);
  for (const char* rate : {"bf16_dot_gflops", "e4m3_dot_gflops"}) {
    EXPECT_GT(json.at("limits").at("before").at(0).at(rate).get<double>(), 0);
    EXPECT_GT(row.at("limits").at(rate).get<double>(), 0);
  }
  EXPECT_TRUE(json.at("machine").at("gpus").at(0).at("no_matrix_peak").is_null());
  EXPECT_THAT(outcome_.out, AllOf(HasSubstr(", bf16 dot "), HasSubstr(", e4m3 dot ")));
  EXPECT_GT(bench::read_result("out.json", text_).rows.at(0).limits.e4m3_dot_gflops, 0);
}

TEST_F(GpuBench, WhatCublasLtCannotDoIsNotMeasured) {
  const auto products = [](const char* mode, const char* library = STROBE_FAKE_CUBLASLT) {
    const StandInCublasLt stand_in(mode, library);
    return std::make_unique<bench::MatrixProducts>(kGpu);
  };
  const auto no_e4m3 = products("no_e4m3");
  EXPECT_EQ(no_e4m3->problem(), "");
  EXPECT_TRUE(no_e4m3->enqueue(Dtype::kBf16, {}));
  EXPECT_FALSE(no_e4m3->enqueue(Dtype::kE4m3, {}));
  const auto broken = products("broken");
  EXPECT_THAT(broken->problem(), HasSubstr("cuBLASLt: cublasLtMatmul: status 13"));
  EXPECT_FALSE(broken->enqueue(Dtype::kBf16, {}));
  EXPECT_THAT(products("", "none")->problem(), HasSubstr("STROBE_CUBLASLT is none"));
  EXPECT_THAT(products("", "/no/such/file")->problem(),
              HasSubstr("STROBE_CUBLASLT: nothing to load in '/no/such/file'"));
}

// The library is loaded once a process: each of these in its own, as ctest runs them.
class GpuBenchCupti : public GpuBench {};

TEST_F(GpuBenchCupti, TimesKernelsFromTheFirstBeginToTheLastEnd) {
  const Environment library("STROBE_CUPTI", STROBE_FAKE_CUPTI);
  if (!bench::cupti_problem().empty()) GTEST_SKIP() << "loaded otherwise before: " << bench::cupti_problem();
  const Json row = run(std::string(kSmallNorm) + "--device cuda --timing cupti").at("rows").at(0);
  EXPECT_EQ(row.at("timed_by"), "cupti");
  EXPECT_EQ(row.at("calls_per_sample"), 1);
  EXPECT_DOUBLE_EQ(row.at("median_ms").get<double>(), 2.5e-3);
  EXPECT_THAT(row.at("repro").get<std::string>(), HasSubstr("--timing cupti"));
  const Environment silent("FAKE_CUPTI", "silent");
  EXPECT_THAT(test::strobe("bench " + std::string(kSmallNorm) + "--device cuda --use_cupti").err,
              HasSubstr("CUPTI has recorded no kernel of a call"));
  const Environment busy("FAKE_CUPTI", "busy");
  EXPECT_THAT(test::strobe("bench " + std::string(kSmallNorm) + "--device cuda --timing cupti").err,
              AllOf(HasSubstr("CUPTI: cuptiActivityEnable"), HasSubstr("MULTIPLE_SUBSCRIBERS")));
}

TEST_F(GpuBenchCupti, IsAskedForOrTakenWhereItIs) {
  const Environment library("STROBE_CUPTI", "none");
  if (bench::cupti_problem().empty()) GTEST_SKIP() << "CUPTI was loaded before";
  const Outcome asked = test::strobe("bench " + std::string(kSmallNorm) + "--device cuda --timing cupti");
  EXPECT_EQ(asked.status, 1);
  EXPECT_THAT(asked.err, HasSubstr("--timing cupti: STROBE_CUPTI is none"));
  const Json row = run(std::string(kSmallNorm) + "--device cuda --use_cupti").at("rows").at(0);
  EXPECT_EQ(row.at("timed_by"), "events");
  EXPECT_THAT(outcome_.err, HasSubstr("--use_cupti changes nothing: STROBE_CUPTI is none; events are used"));
  EXPECT_THAT(test::strobe("bench " + std::string(kSmallNorm) + "--device cuda --timing clock").err,
              HasSubstr("--timing"));
}

TEST_F(GpuBench, ColdCallsRotateAndWarmOnesDoNot) {
  const auto instances = [&](const char* flags) {
    const Json row = run(std::string(kSmallNorm) + flags).at("rows").at(0);
    return std::pair(row.at("instances").get<int>(), row.at("calls_per_sample").get<int>());
  };
  const auto [cold, calls] = instances("--device cuda");
  EXPECT_EQ(cold % calls, 0);
  EXPECT_GE(cold, 3 * calls) << "none is used twice: three samples";
  EXPECT_GT(calls, 1) << "a call of a microsecond is not timed alone";
  EXPECT_EQ(instances("--device cuda --warm").first, 1);
}

TEST_F(GpuBench, GraphsAreReplayed) {
  const Json row = run(std::string(kSmallNorm) + "--device cuda:0 --cuda_graph --refcheck").at("rows").at(0);
  EXPECT_EQ(row.at("timed_by"), "graph");
  EXPECT_EQ(row.at("refcheck"), "pass");
  EXPECT_THAT(row.at("repro").get<std::string>(), HasSubstr("--timing graph"));
}

TEST_F(GpuBench, CpuAndGpuInOneRunAndItsPage) {
  const std::string page = folder_.file("page.html");
  const Json json = run(std::string(kSmallNorm) + "--backends cpu/portable cuda/sm80 --report " + page);
  ASSERT_EQ(json.at("rows").size(), 2u);
  EXPECT_EQ(json.at("rows").at(0).at("isa"), "portable");
  EXPECT_EQ(json.at("rows").at(1).at("device"), "cuda:0");
  const bench::ResultFile file = bench::read_result("out.json", text_);
  EXPECT_EQ(file.rows.at(1).device, "cuda:0");
  EXPECT_EQ(file.rows.at(1).threads, 0);
  EXPECT_EQ(file.rows.at(1).limits.fma_gflops, 0);
  EXPECT_THAT(test::read_text(page),
              AllOf(HasSubstr("cuda:0"), Not(HasSubstr("\"inf")), Not(HasSubstr("\"nan"))));
  const std::string out = folder_.file("out.json");
  EXPECT_EQ(test::strobe("bench compare " + out + " " + out).status, 0);
}

TEST_F(GpuBench, PageOfGpuRowsAloneHasARoofline) {
  const std::string page = folder_.file("page.html");
  run(std::string(kSmallNorm) + "--device cuda --report " + page);
  EXPECT_THAT(test::read_text(page), AllOf(HasSubstr("machine’s roof"), Not(HasSubstr("arithmetic limit")),
                                           Not(HasSubstr("\"inf")), Not(HasSubstr("\"nan"))));
}

TEST_F(GpuBench, WhatHasNoSuchBackendIsSaid) {
  if (!cuda::serves_sm90(test::kGpu)) GTEST_SKIP() << "no backend that some operators lack runs on this GPU";
  const Outcome one = test::strobe(std::string("bench ") + kSmallNorm + "--device cuda --backends cuda/sm90");
  EXPECT_EQ(one.status, 1) << one.err;
  EXPECT_THAT(one.err, AllOf(HasSubstr("rmsnorm has no cuda/sm90 backend; on cuda:0 run: "),
                             HasSubstr("batch_decode_paged")));
  const std::string suite = folder_.file("s.json", R"({"name": "s", "description": "d", "cases": [
      {"routine": "rmsnorm", "num_tokens": 3, "hidden": 128}]})");
  EXPECT_THAT(test::strobe("bench --suite " + suite + " --device cuda --backends cuda/sm90").err,
              HasSubstr("left out on cuda:0: rmsnorm has no cuda/sm90 backend"));
}

TEST_F(GpuBench, WrongDevicesAndLevels) {
  EXPECT_THAT(test::strobe(std::string("bench ") + kSmallNorm + "--device cuda:63").err,
              HasSubstr("this process sees"));
  EXPECT_THAT(test::strobe(std::string("bench ") + kSmallNorm + "--device cuda --isa portable").err,
              HasSubstr("--isa: levels are the CPU's"));
  EXPECT_THAT(test::strobe("bench --workload azure-conv --device cuda").err,
              HasSubstr("a workload runs on the CPU only"));
}

// The arguments name the GPU's memory while the copies live, and the host's afterwards.
TEST_F(GpuBench, OperandsComeAndGo) {
  const op::NamedRoutine routine = op::find_routine("fused_add_rmsnorm");
  op::Random random(1);
  const op::Problem problem = routine.routine.make(*routine.op, op::Case(routine.routine.parameters), random);
  const auto device_of = [&](void* args) { return op::device_of(*routine.op, args); };
  const std::shared_ptr<void> other = op::copy_args(*routine.op, problem.args.get());
  {
    const op::DeviceOperands operands(*routine.op, other.get(), kGpu);
    EXPECT_EQ(device_of(other.get()), kGpu);
    EXPECT_EQ(device_of(problem.args.get()), Device{});
  }
  EXPECT_EQ(device_of(other.get()), Device{});
  for (const op::Operand& operand : routine.op->operands)
    EXPECT_EQ(operand.of(other.get()).data, operand.of(problem.args.get()).data);
}

}  // namespace
}  // namespace strobe
