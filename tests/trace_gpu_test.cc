// Solutions on a GPU: raw kernels, and code in C++ that works with device memory; timed and judged there.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "jit/process.h"
#include "support/gpu.h"
#include "support/sweep.h"
#include "trace/build/builder.h"
#include "trace/build/raw_kernel.h"
#include "trace/data_set.h"
#include "trace/json_text.h"
#include "trace/run/evaluate.h"

namespace strobe::trace {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::string python_with_numpy() {
  for (const char* name : {STROBE_TEST_PYTHON, "python3"})
    if (jit::run_process({name, "-c", "import numpy"}).succeeded) return name;
  return "";
}

constexpr const char* kDefinition = R"({"name": "scale_h64", "op_type": "scale",
  "axes": {"rows": {"type": "var"}, "hidden": {"type": "const", "value": 64}},
  "inputs": {"x": {"shape": ["rows", "hidden"], "dtype": "float32"}, "flip": {"shape": ["rows"], "dtype": "bool"},
             "s": {"shape": null, "dtype": "float32"}},
  "outputs": {"y": {"shape": ["rows", "hidden"], "dtype": "float32"}},
  "reference": "def run(x, flip, s):\n    return x * x.dtype.type(s) * (1 - 2 * flip.astype('float32'))[:, None]\n"})";

constexpr const char* kCopyDefinition = R"({"name": "copy", "op_type": "copy",
  "axes": {"n": {"type": "var"}},
  "inputs": {"x": {"shape": ["n"], "dtype": "float32"}},
  "outputs": {"y": {"shape": ["n"], "dtype": "float32"}},
  "reference": "def run(x):\n    return x.copy()\n"})";

// A copy by the driver, in a stream of its own or in the default one.
constexpr const char* kCopy = R"(#include <dlfcn.h>
#include <stdint.h>
struct Tensor { void* data; int32_t device[2], rank; uint8_t code, bits; uint16_t lanes; int64_t *shape, *strides; uint64_t offset; };
struct Any { int32_t kind; uint32_t zero; union { int64_t integer; double number; Tensor* tensor; }; };
template <class F> F* find(const char* name) {
  return reinterpret_cast<F*>(dlsym(dlopen("libcuda.so.1", RTLD_NOW), name));
}
static int copy(const Any* a, void* stream) {
  static auto* copy = find<int(uint64_t, uint64_t, size_t, void*)>("cuMemcpyDtoDAsync_v2");
  return copy((uint64_t)a[1].tensor->data, (uint64_t)a[0].tensor->data, a[0].tensor->shape[0] * 4, stream);
}
#define RUN extern "C" int __tvm_ffi_run(void*, const Any* a, int32_t, Any*)
)";

constexpr const char* kHonest = R"(// launch: grid(rows) block(min(hidden, 1024))
extern "C" __global__ void __launch_bounds__(1024) scale(const Arguments a) {
  const long long i = blockIdx.x * hidden + threadIdx.x;
  a.y[i] = a.x[i] * a.s * (a.flip[blockIdx.x] ? -1.f : 1.f);
}
)";

class TraceGpuTest : public test::GpuTest {
 protected:
  TraceGpuTest() : root_(fs::temp_directory_path() / fmt::format("strobe_trace_gpu_{}", getpid())) {
    fs::create_directories(root_);
  }
  ~TraceGpuTest() override { fs::remove_all(root_); }
  void SetUp() override {
    GpuTest::SetUp();
    static const std::string python = python_with_numpy();
    if (python.empty()) GTEST_SKIP() << "there is no Python with numpy for the references";
    options_.python = python;
    options_.worker = {STROBE_TEST_COMMAND, "trace", "worker"};
    options_.calls = 3;
    options_.rounds = 1;
    options_.timeout = std::chrono::seconds(60);
    options_.hardware = "GPU";
    options_.gpu = 0;
  }

  static Solution solution(const char* language, const std::string& entry, const std::string& text) {
    return {.name = "s",
            .definition = "d",
            .author = "a",
            .language = language,
            .target_hardware = {"cuda"},
            .entry_point = entry,
            .dependencies = {},
            .destination_passing_style = true,
            .binding = {},
            .sources = {{entry.substr(0, entry.find(':')), text}},
            .description = {}};
  }
  Evaluation scale(const std::string& text) {
    const Workload workload{
        {{"rows", 5}}, {{"x", RandomInput{}}, {"flip", RandomInput{}}, {"s", ScalarInput{0.5}}}, "w"};
    return evaluate(DataSet(root_), read_definition(parse_json(kDefinition, "d"), "d"),
                    solution("cuda", "kernel.cu::scale", text), workload, options_);
  }
  Evaluation copy(const std::string& text) {
    const Workload workload{{{"n", 1000}}, {{"x", RandomInput{}}}, "w"};
    return evaluate(DataSet(root_), read_definition(parse_json(kCopyDefinition, "d"), "d"),
                    solution("cpp", "main.cc::run", kCopy + text), workload, options_);
  }
  static void expect(const Evaluation& evaluation, Status status, const std::string& why) {
    EXPECT_EQ(name(evaluation.status), name(status)) << evaluation.log;
    EXPECT_THAT(evaluation.log, HasSubstr(why));
  }

  fs::path root_;
  RunOptions options_;
};

TEST_F(TraceGpuTest, ARawKernelRuns) {
  const Evaluation evaluation = scale(kHonest);
  EXPECT_EQ(name(evaluation.status), "PASSED") << evaluation.log;
  ASSERT_TRUE(evaluation.performance);
  EXPECT_GT(evaluation.performance->latency_ms, 0);
  EXPECT_GT(evaluation.correctness->extra.at("wall_latency_ms").get<double>(), 0);
}

TEST_F(TraceGpuTest, ABlockMayBeOneThread) {
  expect(
      scale("// launch: grid(rows * hidden) block(1)\n"
            "extern \"C\" __global__ void __launch_bounds__(32) scale(const Arguments a) {\n"
            "  a.y[blockIdx.x] = a.x[blockIdx.x] * a.s * (a.flip[blockIdx.x / hidden] ? -1.f : 1.f);\n}\n"),
      Status::kPassed, "");
}

TEST_F(TraceGpuTest, WrongKernelsAreNamed) {
  const auto with = [](std::string text, const std::string& what, const std::string& instead) {
    return text.replace(text.find(what), what.size(), instead);
  };
  expect(scale(with(kHonest, "a.y[i] =", "if (a.s > 9) a.y[i] =")), Status::kIncorrectNumerical,
         "it leaves 'y' as it was");
  expect(scale(with(kHonest, "a.s *", "(a.s + (i == 319)) *")), Status::kIncorrectNumerical,
         "elements are wrong");
  expect(scale(with(kHonest, "1.f);", "1.f); const_cast<float*>(a.x)[i] = 0;")), Status::kRuntimeError,
         "it changes its input 'x'");
  expect(scale(with(kHonest, "a.x[i]", "a.missing[i]")), Status::kCompileError, "missing");
  expect(scale(with(kHonest, "block(min(hidden, 1024))", "block(hidden")), Status::kCompileError,
         "expected grid(x, y, z)");
  expect(scale(with(kHonest, "grid(rows)", "grid(columns)")), Status::kRuntimeError, "columns is not known");
}

TEST_F(TraceGpuTest, AnotherStreamThanTheGivenOneIsNamed) {
  expect(copy("RUN { return copy(a, nullptr); }"), Status::kPassed, "");
  expect(copy("RUN { void* s = nullptr; find<int(void**, unsigned)>(\"cuStreamCreate\")(&s, 1); int e = "
              "copy(a, s);\n"
              "return e + find<int(void*)>(\"cuStreamSynchronize\")(s) + "
              "find<int(void*)>(\"cuStreamDestroy_v2\")(s); }"),
         Status::kIncorrectNumerical, "it works outside of the stream that it is given");
}

TEST_F(TraceGpuTest, ARawKernelChecksItsArguments) {
  const Definition definition = read_definition(parse_json(kDefinition, "d"), "d");
  const auto kernel = build(definition, solution("cuda", "kernel.cu::scale", kHonest));
  std::int64_t shape[2] = {2, 32};
  StrobeTensor tensor{.data = nullptr,
                      .device_type = 2,
                      .device_index = 0,
                      .rank = 2,
                      .dtype_code = 2,
                      .dtype_bits = 32,
                      .dtype_lanes = 1,
                      .shape = shape,
                      .strides = nullptr,
                      .byte_offset = 0};
  const auto message = [&] {
    return test::error_message([&] {
      (*kernel)({strobe_tensor(&tensor), strobe_tensor(&tensor), strobe_float(1), strobe_tensor(&tensor)});
    });
  };
  EXPECT_THAT(message(), HasSubstr("x: expected 64 of hidden, got 32"));
  shape[1] = 64;
  EXPECT_THAT(message(), HasSubstr("flip: expected bool"));
  std::int64_t strides[2] = {128, 1};
  tensor.strides = strides;
  EXPECT_THAT(message(), HasSubstr("x: expected a tensor without gaps"));
  tensor.device_type = 1;
  EXPECT_THAT(message(), HasSubstr("x: expected a tensor of one GPU"));
  EXPECT_THAT(test::error_message([&] { (*kernel)({strobe_int(1)}); }),
              HasSubstr("expected 4 arguments, got 1"));
}

TEST_F(TraceGpuTest, KernelsOfTheStarterSet) {
  const DataSet set(STROBE_SOURCE_DIR "/datasets/starter");
  options_.calls = 2;
  for (const char* solution_name : {"rmsnorm_h4096_f32_cuda", "rope_neox_d128_f32_cuda"}) {
    const Solution* solution = set.solution(solution_name);
    ASSERT_NE(solution, nullptr) << solution_name;
    const Evaluation evaluation = evaluate(set, *set.definition(solution->definition), *solution,
                                           *set.workloads_of(solution->definition).front(), options_);
    EXPECT_EQ(name(evaluation.status), "PASSED") << evaluation.log;
  }
}

TEST(TraceRawKernel, ThePrologueHasTheDefinitionsNames) {
  EXPECT_EQ(raw_kernel_prologue(read_definition(parse_json(kDefinition, "d"), "d")),
            "constexpr long long hidden = 64;\nstruct Arguments {\n  const float* x;\n  const bool* flip;\n  "
            "float s;\n  "
            "float* y;\n  long long rows;\n};\n");
}

}  // namespace
}  // namespace strobe::trace
