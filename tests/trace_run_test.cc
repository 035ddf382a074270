// strobe trace run: solutions that cheat or fail, each named for what it does, and honest ones that nobody
// accuses.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "core/safetensors.h"
#include "jit/process.h"
#include "support/sweep.h"
#include "trace/data_set.h"
#include "trace/json_text.h"
#include "trace/run/compare.h"
#include "trace/run/evaluate.h"
#include "trace/validate.h"

namespace strobe::trace {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// An interpreter that has numpy: that of the Python package's tests, or the machine's; "" when there is none.
std::string python_with_numpy() {
  for (const char* name : {STROBE_TEST_PYTHON, "python3"})
    if (jit::run_process({name, "-c", "import numpy"}).succeeded) return name;
  return "";
}

constexpr const char* kDefinition = R"({"name": "scale_h64", "op_type": "scale",
  "axes": {"rows": {"type": "var"}, "hidden": {"type": "const", "value": 64}},
  "inputs": {"x": {"shape": ["rows", "hidden"], "dtype": "float32"}, "index": {"shape": ["rows"], "dtype": "int32"}, "s": {"shape": null, "dtype": "float32"}},
  "outputs": {"y": {"shape": ["rows", "hidden"], "dtype": "float32"}},
  "reference": "def run(x, index, s):\n    return x[index] * x.dtype.type(s)\n"})";

constexpr const char* kHelpers = R"(import ctypes, os, sys, threading, time
import numpy as np

def compute(x, index, s):
    return x[index] * np.float32(s)
)";

class TraceRunTest : public testing::Test {
 protected:
  TraceRunTest() : root_(fs::temp_directory_path() / fmt::format("strobe_trace_run_{}", getpid())) {
    fs::remove_all(root_);
    fs::create_directories(root_ / "blob");
  }
  ~TraceRunTest() override { fs::remove_all(root_); }
  void SetUp() override {
    static const std::string python = python_with_numpy();
    if (python.empty()) GTEST_SKIP() << "there is no Python with numpy";
    options_.python = python;
    options_.calls = 8;
    options_.rounds = 2;
    options_.timeout = std::chrono::seconds(20);
    options_.hardware = "CPU";
    const std::int32_t order[4] = {3, 1, 0, 2};
    write_safetensors((root_ / "blob/t.safetensors").string(),
                      {{{"index", TensorView(const_cast<std::int32_t*>(order), Dtype::kI32, {4})}}});
  }

  Evaluation run(const std::string& text, bool destination_passing = true,
                 const char* definition_text = kDefinition) {
    const DataSet set(root_);
    const Definition definition = read_definition(parse_json(definition_text, "d"), "d");
    Solution solution{.name = "s",
                      .definition = definition.name,
                      .author = "a",
                      .language = "python",
                      .target_hardware = {"CPU"},
                      .entry_point = "main.py::run",
                      .dependencies = {},
                      .destination_passing_style = destination_passing,
                      .binding = {},
                      .sources = {{"main.py", kHelpers + text}},
                      .description = {}};
    const Workload workload{
        {{"rows", 4}},
        {{"x", RandomInput{}}, {"index", FileInput{"blob/t.safetensors", "index"}}, {"s", ScalarInput{0.5}}},
        "w"};
    return evaluate(set, definition, solution, workload, options_);
  }
  void expect(Status status, const std::string& why, const std::string& text,
              bool destination_passing = true) {
    const Evaluation evaluation = run(text, destination_passing);
    EXPECT_EQ(name(evaluation.status), name(status)) << text << evaluation.log;
    EXPECT_THAT(evaluation.log, HasSubstr(why)) << text;
  }

  fs::path root_;
  RunOptions options_;
};

TEST_F(TraceRunTest, HonestSolutionsPass) {
  for (const char* text : {
           "def run(x, index, s, y):\n    y[...] = compute(x, index, s)\n",
           "def run(x, index, s, y):\n    for i, j in enumerate(index): y[i] = x[j] * s\n",
           // It says something, uses a thread and waits for it, keeps what does not depend on the inputs'
           // values.
           "def run(x, index, s, y):\n    print('called')\n    y[...] = compute(x, index, s)\n",
           "def run(x, index, s, y):\n    t = threading.Thread(target=lambda: np.copyto(y, compute(x, index, "
           "s)))\n    t.start()\n    t.join()\n",
           "room = {}\ndef run(x, index, s, y):\n    t = room.setdefault(x.shape, np.empty_like(x))\n    "
           "np.take(x, index, 0, t)\n    np.multiply(t, s, y)\n",
           // A clock that stands still is nobody's but its own.
           "time.perf_counter = time.time = time.monotonic = lambda: 0.0\ndef run(x, index, s, y):\n    "
           "y[...] = compute(x, index, s)\n",
       }) {
    const Evaluation evaluation = run(text);
    EXPECT_EQ(name(evaluation.status), "PASSED") << text << evaluation.log;
    ASSERT_TRUE(evaluation.performance);
    EXPECT_GT(evaluation.performance->latency_ms, 0);
    EXPECT_GT(evaluation.performance->reference_latency_ms, 0);
    EXPECT_LE(evaluation.correctness->max_absolute_error, 1e-6);
    EXPECT_EQ(evaluation.environment.hardware, "CPU");
  }
  EXPECT_EQ(name(run("def run(x, index, s):\n    return compute(x, index, s)\n", false).status), "PASSED");
  EXPECT_EQ(name(run("def run(x, index, s):\n    return [compute(x, index, s)]\n", false).status), "PASSED");
}

TEST_F(TraceRunTest, CheatsAreNamed) {
  expect(Status::kIncorrectNumerical, "outputs are kept, not computed",
         "kept = {}\ndef run(x, index, s, y):\n    k = x.ctypes.data\n    if k not in kept: kept[k] = "
         "compute(x, index, s)\n    y[...] = kept[k]\n");
  expect(Status::kIncorrectNumerical, "it leaves 'y' as it was", "def run(x, index, s, y):\n    pass\n");
  expect(
      Status::kIncorrectNumerical, "it leaves 'y' as it was",  // after the first call
      "n = [0]\ndef run(x, index, s, y):\n    n[0] += 1\n    if n[0] < 9: y[...] = compute(x, index, s)\n");
  expect(Status::kIncorrectNumerical, "some time after the answer",
         "def work(x, index, s, y):\n    time.sleep(0.02)\n    y[...] = compute(x, index, s)\n"
         "def run(*a):\n    threading.Thread(target=work, args=a).start()\n");
  expect(Status::kRuntimeError, "are there after its call",
         "def run(x, index, s, y):\n    if os.fork() == 0:\n        time.sleep(5)\n        os._exit(0)\n    "
         "y[...] = compute(x, index, s)\n");
  expect(Status::kRuntimeError, "it changes its input 'x'",
         "def run(x, index, s, y):\n    y[...] = compute(x, index, s)\n    x[0, 0] = 0\n");
  expect(Status::kRuntimeError, "writes outside of its tensors, beside 'y'",
         "def run(x, index, s, y):\n    y[...] = compute(x, index, s)\n    ctypes.memset(y.ctypes.data + "
         "y.nbytes, 0, 16)\n");
  expect(Status::kIncorrectNumerical,
         "some time after the answer",  // an answer of its own, before it has computed
         "def run(x, index, s, y):\n    os.write(4, b'{}\\n')\n    time.sleep(0.01)\n    y[...] = compute(x, "
         "index, s)\n");
  expect(Status::kIncorrectNumerical,
         "it leaves 'y' as it was",  // the loop that calls it, made to call nothing
         "def run(x, index, s, y):\n    sys._getframe(1).f_locals['self'].calls.clear\n"
         "    sys._getframe(1).f_locals['request']['sets'].clear()\n    y[...] = compute(x, index, s)\n");
  expect(Status::kIncorrectDtype, "expected a tensor, got Lazy",  // to be computed when it is read
         "class Lazy(np.ndarray): pass\ndef run(x, index, s):\n    return x[index].view(Lazy)\n", false);
  expect(Status::kIncorrectDtype, "expected float32, got float16",
         "def run(x, index, s):\n    return compute(x, index, s).astype('float16')\n", false);
  expect(Status::kIncorrectShape, "expected the shape [4, 64]",
         "def run(x, index, s):\n    return compute(x, index, s)[:2]\n", false);
  expect(Status::kIncorrectNumerical, "elements are wrong",
         "def run(x, index, s, y):\n    y[...] = compute(x, index, s)\n    y[3, 1] += 1\n");
  expect(Status::kIncorrectNumerical, "elements are wrong", "def run(x, index, s, y):\n    y[...] = 0\n");
  expect(Status::kIncorrectNumerical, "elements are wrong",
         "def run(x, index, s, y):\n    y[...] = np.nan\n    y[0] = 1\n");
}

constexpr const char* kSamplingDefinition = R"({"name": "top_k_sampling_v100", "op_type": "sampling",
  "axes": {"batch_size": {"type": "var"}, "vocab_size": {"type": "const", "value": 100}},
  "inputs": {"probs": {"shape": ["batch_size", "vocab_size"], "dtype": "float32"}, "top_k": {"shape": ["batch_size"], "dtype": "int32"}},
  "outputs": {"samples": {"shape": ["batch_size"], "dtype": "int32"}},
  "reference": "def run(probs, top_k):\n    return probs.argmax(axis=-1).astype('int32')\n"})";

TEST_F(TraceRunTest, SamplersAreJudgedByTheirDistribution) {
  const Definition definition = read_definition(parse_json(kSamplingDefinition, "d"), "d");
  const auto judged = [&](const std::string& draw) {
    const Solution solution{.name = "s",
                            .definition = definition.name,
                            .author = "a",
                            .language = "python",
                            .target_hardware = {"CPU"},
                            .entry_point = "main.py::run",
                            .dependencies = {},
                            .destination_passing_style = true,
                            .binding = {},
                            .sources = {{"main.py",
                                         "import numpy as np\nrandom = np.random.default_rng()\n"
                                         "def run(probs, top_k, samples):\n"
                                         "    for row, (p, k) in enumerate(zip(probs, top_k)):\n"
                                         "        best = np.argsort(-p)[:k]\n        samples[row] = " +
                                             draw + "\n"}},
                            .description = {}};
    const Workload workload{{{"batch_size", 32}}, {{"probs", RandomInput{}}, {"top_k", RandomInput{}}}, "w"};
    const Evaluation evaluation = evaluate(DataSet(root_), definition, solution, workload, options_);
    return std::string(name(evaluation.status)) + " " + evaluation.log;
  };
  EXPECT_EQ(judged("random.choice(best, p=p[best] / p[best].sum(dtype='float64'))"), "PASSED ");
  EXPECT_THAT(judged("best[0]"),
              HasSubstr("INCORRECT_NUMERICAL its samples do not follow the probabilities"));
  EXPECT_THAT(judged("random.choice(best)"), HasSubstr("its samples do not follow the probabilities"));
  EXPECT_THAT(judged("random.choice(100, p=p / p.sum(dtype='float64'))"), HasSubstr("that may be drawn"));
}

TEST_F(TraceRunTest, FaultsEndTheSolutionAndNothingElse) {
  const fs::path temporary = root_ / "temporary";  // other tests run beside this one
  fs::create_directories(temporary);
  ::setenv("TMPDIR", temporary.c_str(), 1);
  expect(Status::kRuntimeError, "exit status 7", "def run(*a):\n    os._exit(7)\n");
  expect(Status::kRuntimeError, "SystemExit", "def run(*a):\n    sys.exit(0)\n");
  expect(Status::kRuntimeError, "ValueError: no", "def run(*a):\n    raise ValueError('no')\n");
  expect(Status::kRuntimeError, "signal", "def run(*a):\n    ctypes.memset(8, 0, 16)\n");
  expect(Status::kRuntimeError, "its answers", "def run(*a):\n    os.close(4)\n    time.sleep(60)\n");
  expect(Status::kCompileError, "SyntaxError", "def run(:\n");
  expect(Status::kCompileError, "AttributeError", "def other(): pass\n");
  expect(Status::kRuntimeError, "MemoryError", "def run(*a):\n    bytearray(1 << 36)\n");
  expect(Status::kRuntimeError, "No such file",
         "import shutil\nshutil.rmtree(os.getcwd())\ndef run(*a):\n    open('data')\n");
  options_.limits.output_bytes = 1 << 20;
  expect(Status::kRuntimeError, "it printed more than 1 MiB",
         "def run(*a):\n    while True: print('x' * 65536)\n");
  options_.timeout = std::chrono::milliseconds(1500);
  expect(Status::kTimeout, "no answer within 1500 ms", "def run(*a):\n    time.sleep(1000)\n");
  expect(Status::kTimeout, "no answer within 1500 ms", "while True: pass\n");
  ::unsetenv("TMPDIR");
  EXPECT_TRUE(fs::is_empty(temporary)) << "a folder was left";
}

TEST_F(TraceRunTest, AReferenceThatFailsIsTheDefinitionsFault) {
  std::string text = kDefinition;
  text.replace(text.find("x[index] *"), 10, "nothing * ");
  EXPECT_THAT(test::error_message([&] { run("def run(*a): pass\n", true, text.c_str()); }),
              testing::AllOf(HasSubstr("the reference fails"), HasSubstr("NameError")));
}

TEST_F(TraceRunTest, TheStarterSetIsValidAndItsBaselinesPass) {
  const std::string root = STROBE_SOURCE_DIR "/datasets/starter";
  for (const DefinitionReport& report : validate({.data_set = root}))
    EXPECT_EQ(report.status(), Level::kInfo) << text_report({report});
  const DataSet set(root);
  options_.calls = 2;
  options_.rounds = 1;
  for (const auto& [solution_name, stored] : set.solutions()) {
    if (stored.item.author != "baseline") continue;
    const Definition* definition = set.definition(stored.item.definition);
    ASSERT_NE(definition, nullptr);
    const Evaluation evaluation =
        evaluate(set, *definition, stored.item, *set.workloads_of(definition->name).front(), options_);
    EXPECT_EQ(name(evaluation.status), "PASSED") << solution_name << evaluation.log;
  }
}

TEST(TraceCompare, KnowsWhatIsNotFinite) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN(),
                  kInf = std::numeric_limits<float>::infinity();
  const auto wrong = [](float got, float want) {
    return compare(TensorView(&got, Dtype::kF32, {1}), TensorView(&want, Dtype::kF32, {1}), Bounds{}).wrong;
  };
  EXPECT_EQ(wrong(kNan, kNan), 0);
  EXPECT_EQ(wrong(-kInf, -kInf), 0);
  EXPECT_EQ(wrong(1, kNan), 1);
  EXPECT_EQ(wrong(kNan, 1), 1);
  EXPECT_EQ(wrong(kInf, -kInf), 1);
  EXPECT_EQ(wrong(1e30f, kInf), 1);
  EXPECT_EQ(wrong(1.005f, 1), 0);
  EXPECT_EQ(wrong(1.1f, 1), 1);
}

}  // namespace
}  // namespace strobe::trace
