// Solutions in C++: built by the host's compiler, run without Python; those that cheat or fail are named, and
// honest ones are not.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "jit/process.h"
#include "support/sweep.h"
#include "trace/build/builder.h"
#include "trace/data_set.h"
#include "trace/json_text.h"
#include "trace/run/evaluate.h"

namespace strobe::trace {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::string python_with(const std::string& module) {
  for (const char* name : {STROBE_TEST_PYTHON, "python3"})
    if (jit::run_process({name, "-c", "import " + module}).succeeded) return name;
  return "";
}

constexpr const char* kDefinition = R"({"name": "scale_h64", "op_type": "scale",
  "axes": {"rows": {"type": "var"}, "hidden": {"type": "const", "value": 64}},
  "inputs": {"x": {"shape": ["rows", "hidden"], "dtype": "float32"}, "s": {"shape": null, "dtype": "float32"}},
  "outputs": {"y": {"shape": ["rows", "hidden"], "dtype": "float32"}},
  "reference": "def run(x, s):\n    return x * x.dtype.type(s)\n"})";

// tvm-ffi's structs, as a solution may declare them itself.
constexpr const char* kAbi = R"(#include <stdint.h>
struct Tensor { void* data; int32_t device[2], rank; uint8_t code, bits; uint16_t lanes; int64_t *shape, *strides; uint64_t offset; };
struct Any { int32_t kind; uint32_t zero; union { int64_t integer; double number; Tensor* tensor; }; };
static float* data(const Any& a) { return static_cast<float*>(a.tensor->data); }
static void compute(const Any* a) {
  const int64_t n = a[0].tensor->shape[0] * a[0].tensor->shape[1];
  for (int64_t i = 0; i < n; ++i) data(a[2])[i] = data(a[0])[i] * static_cast<float>(a[1].number);
}
#define RUN extern "C" int __tvm_ffi_run(void*, const Any* a, int32_t, Any*)
)";

class TraceNativeTest : public testing::Test {
 protected:
  TraceNativeTest()
      : root_(fs::temp_directory_path() / fmt::format("strobe_trace_native_{}", getpid())),
        definition_(read_definition(parse_json(kDefinition, "d"), "d")) {
    fs::remove_all(root_);
    fs::create_directories(root_);
    fs::create_directories(root_ / "cache");
    fs::permissions(root_ / "cache", fs::perms::owner_all);
    ::setenv("STROBE_CACHE_DIR", (root_ / "cache").c_str(), 1);
  }
  ~TraceNativeTest() override {
    ::unsetenv("STROBE_CACHE_DIR");
    fs::remove_all(root_);
  }
  void SetUp() override {
    static const std::string python = python_with("numpy");
    if (python.empty()) GTEST_SKIP() << "there is no Python with numpy for the references";
    options_.python = python;
    options_.worker = {STROBE_TEST_COMMAND, "trace", "worker"};
    options_.calls = 4;
    options_.rounds = 1;
    options_.timeout = std::chrono::seconds(30);
    options_.hardware = "CPU";
  }

  static Solution solution(const std::string& text) {
    return {.name = "s",
            .definition = "scale_h64",
            .author = "a",
            .language = "cpp",
            .target_hardware = {"CPU"},
            .entry_point = "main.cc::run",
            .dependencies = {},
            .destination_passing_style = true,
            .binding = "tvm-ffi",
            .sources = {{"main.cc", kAbi + text}},
            .description = {}};
  }
  Evaluation run(const Solution& solution) {
    const DataSet set(root_);
    const Workload workload{{{"rows", 4}}, {{"x", RandomInput{}}, {"s", ScalarInput{0.5}}}, "w"};
    return evaluate(set, definition_, solution, workload, options_);
  }
  void expect(Status status, const std::string& why, const std::string& text) {
    const Evaluation evaluation = run(solution(text));
    EXPECT_EQ(name(evaluation.status), name(status)) << text << evaluation.log;
    EXPECT_THAT(evaluation.log, HasSubstr(why)) << text;
  }

  fs::path root_;
  Definition definition_;
  RunOptions options_;
};

TEST_F(TraceNativeTest, HonestSolutionsPass) {
  for (const char* text : {
           "RUN { compute(a); return 0; }",
           "#include <thread>\nRUN { std::thread t([=] { compute(a); }); t.join(); return 0; }",
           "#include <vector>\nstatic std::vector<float> room;\nRUN { room.assign(data(a[0]), data(a[0]) + "
           "256);\n"
           "for (int i = 0; i < 256; ++i) data(a[2])[i] = room[i] * (float)a[1].number; return 0; }",
           "#include <cstdio>\nRUN { puts(\"called\"); compute(a); return 0; }",
       }) {
    const Evaluation evaluation = run(solution(text));
    EXPECT_EQ(name(evaluation.status), "PASSED") << text << evaluation.log;
    ASSERT_TRUE(evaluation.performance);
    EXPECT_GT(evaluation.performance->latency_ms, 0);
  }
}

TEST_F(TraceNativeTest, ASolutionOfSeveralFilesInFolders) {
  Solution several = solution("");
  several.entry_point = "src/main.cpp::scale";
  several.sources = {
      {"include/compute.h", std::string(kAbi) + "void work(const Any* a);\n"},
      {"src/main.cpp",
       "#include \"include/compute.h\"\nextern \"C\" int __tvm_ffi_scale(void*, const Any* a, "
       "int32_t, Any*) { work(a); return 0; }\n"},
      {"src/work.cc", "#include \"../include/compute.h\"\nvoid work(const Any* a) { compute(a); }\n"}};
  const Evaluation evaluation = run(several);
  EXPECT_EQ(name(evaluation.status), "PASSED") << evaluation.log;
}

TEST_F(TraceNativeTest, CheatsAreNamed) {
  expect(Status::kIncorrectNumerical, "outputs are kept, not computed",
         "#include <map>\n#include <vector>\n#include <cstring>\nstatic std::map<void*, std::vector<float>> "
         "kept;\n"
         "RUN { auto& k = kept[a[0].tensor->data]; if (k.empty()) { compute(a); k.assign(data(a[2]), "
         "data(a[2]) + 256); }\n"
         "memcpy(data(a[2]), k.data(), 1024); return 0; }");
  expect(Status::kIncorrectNumerical, "it leaves 'y' as it was", "RUN { return 0; }");
  expect(Status::kIncorrectNumerical, "some time after the answer",
         "#include <thread>\n#include <unistd.h>\nRUN { std::thread([b = new Any[3]{a[0], a[1], a[2]}] { "
         "usleep(20000); "
         "compute(b); }).detach(); return 0; }");
  expect(Status::kIncorrectNumerical, "some time after the answer",
         "#include <unistd.h>\nRUN { (void)!write(4, \"{}\\n\", 3); usleep(10000); compute(a); return 0; }");
  expect(Status::kRuntimeError, "are there after its call",
         "#include <unistd.h>\nRUN { if (fork() == 0) { sleep(5); _exit(0); } compute(a); return 0; }");
  expect(Status::kRuntimeError, "it changes its input 'x'",
         "RUN { compute(a); data(a[0])[3] = 0; return 0; }");
  expect(Status::kRuntimeError, "writes outside of its tensors, beside 'y'",
         "RUN { compute(a); ((volatile char*)data(a[2]))[-1] = 0; return 0; }");
  expect(Status::kIncorrectNumerical, "elements are wrong",
         "RUN { compute(a); data(a[2])[255] += 1; return 0; }");
}

TEST_F(TraceNativeTest, FaultsAreNamed) {
  expect(Status::kRuntimeError, "signal 11", "RUN { *(volatile int*)8 = 0; return 0; }");
  expect(Status::kRuntimeError, "exit status 7", "#include <unistd.h>\nRUN { _exit(7); }");
  expect(Status::kRuntimeError, "signal 6", "RUN { throw 42; }");
  expect(Status::kRuntimeError, "without saying why", "RUN { return -1; }");
  expect(Status::kCompileError, "main.cc:10", "RUN { return missing; }");
  expect(Status::kCompileError, "exports no __tvm_ffi_run", "int run() { return 0; }");
  expect(Status::kCompileError, "exit status 3",
         "#include <unistd.h>\nstatic int at_load = (_exit(3), 0);\nRUN { return at_load; }");
  expect(Status::kCompileError, "undefined_function",
         "extern \"C\" void undefined_function();\nRUN { undefined_function(); return 0; }");
  options_.limits.memory_bytes = std::uint64_t{1} << 29;
  expect(Status::kCompileError, "does not compile",  // a table that no compiler can hold in half a gigabyte
         "template <int N> struct Deep { Deep<N - 1> a, b; int v[N]; };\ntemplate <> struct Deep<0> {};\n"
         "constexpr int big[1 << 28] = {1};\nRUN { return big[a[0].integer & 7]; }");
  options_.limits = {};
  options_.timeout = std::chrono::milliseconds(2500);
  expect(Status::kTimeout, "no answer within 2500 ms", "#include <unistd.h>\nRUN { for (;;) pause(); }");
}

TEST_F(TraceNativeTest, WhatCannotBeRunSaysWhy) {
  const auto refusal = [&](const Solution& refused) { return test::error_message([&] { run(refused); }); };
  Solution other = solution("RUN { return 0; }");
  other.dependencies = {"cutlass"};
  EXPECT_THAT(refusal(other), HasSubstr("its dependency 'cutlass' is none of tvm-ffi"));
  other.dependencies = {};
  other.destination_passing_style = false;
  EXPECT_THAT(refusal(other), HasSubstr("expected destination_passing_style"));
  other.destination_passing_style = true;
  other.binding = "torch";
  EXPECT_THAT(refusal(other), HasSubstr("expected the binding tvm-ffi, got torch"));
}

// Twins that differ in what FlashInfer-Bench's hash leaves out have a build each.
TEST_F(TraceNativeTest, BuildsAreFoundByACompleteKey) {
  const Solution first = solution("RUN { compute(a); return 0; }");
  EXPECT_TRUE(build(definition_, first)->compiled());
  EXPECT_TRUE(build(definition_, first)->compiled());  // the same library, still in this process
  Solution twin = first;
  twin.target_hardware = {"another"};
  ASSERT_EQ(content_hash(twin), content_hash(first));
  const auto built = build(definition_, twin);
  EXPECT_TRUE(built->compiled());
  int entries = 0;
  for (const auto& entry : fs::directory_iterator(root_ / "cache"))
    entries += entry.path().extension() == ".so";
  EXPECT_EQ(entries, 2);

  float x[4] = {1, 2, 3, 4}, y[4] = {};
  std::int64_t shape[2] = {1, 4};
  const auto view = [&](float* data) {
    return StrobeTensor{.data = data,
                        .device_type = 1,
                        .device_index = 0,
                        .rank = 2,
                        .dtype_code = 2,
                        .dtype_bits = 32,
                        .dtype_lanes = 1,
                        .shape = shape,
                        .strides = nullptr,
                        .byte_offset = 0};
  };
  const StrobeTensor in = view(x), out = view(y);
  (*built)({strobe_tensor(&in), strobe_float(0.5), strobe_tensor(&out)});
  EXPECT_THAT(y, testing::ElementsAre(0.5f, 1, 1.5f, 2));
}

TEST_F(TraceNativeTest, SolutionsMayUseTvmFfisHeaders) {
  static const std::string python = python_with("tvm_ffi");
  if (python.empty()) GTEST_SKIP() << "there is no Python with apache-tvm-ffi";
  options_.python = python;
  Solution typed = solution("");
  typed.sources = {{"main.cc", R"(#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/function.h>
void run(tvm::ffi::TensorView x, double s, tvm::ffi::TensorView y) {
  if (s < 0) TVM_FFI_THROW(ValueError) << "expected a scale of at least 0";
  for (int64_t i = 0; i < x.numel(); ++i)
    static_cast<float*>(y.data_ptr())[i] = static_cast<const float*>(x.data_ptr())[i] * static_cast<float>(s);
}
TVM_FFI_DLL_EXPORT_TYPED_FUNC(run, run);
)"}};
  typed.dependencies = {"tvm-ffi"};
  const DataSet set(root_);
  Workload workload{{{"rows", 4}}, {{"x", RandomInput{}}, {"s", ScalarInput{0.5}}}, "w"};
  Evaluation evaluation = evaluate(set, definition_, typed, workload, options_);
  EXPECT_EQ(name(evaluation.status), "PASSED") << evaluation.log;
  workload.inputs[1].second = ScalarInput{-1.0};
  evaluation = evaluate(set, definition_, typed, workload, options_);
  EXPECT_EQ(name(evaluation.status), "RUNTIME_ERROR");
  EXPECT_THAT(evaluation.log, HasSubstr("ValueError: expected a scale of at least 0"));
}

}  // namespace
}  // namespace strobe::trace
