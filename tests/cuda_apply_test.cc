// apply() on a GPU: solutions in CUDA on the caller's stream and in graphs; calls recorded from device
// memory.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>

#include "core/safetensors.h"
#include "strobe/apply.h"
#include "strobe/record.h"
#include "support/gpu.h"
#include "trace/data_set.h"
#include "trace/json_text.h"

namespace strobe::trace {
namespace {

namespace fs = std::filesystem;
using test::kGpu;
using testing::Each;
using testing::HasSubstr;

constexpr int kColumns = 64;

// The arguments of scale(x, s) = x * s in device memory.
struct Call {
  explicit Call(std::int64_t rows, float value = 3)
      : shape{rows, kColumns},
        x(kGpu, static_cast<std::size_t>(rows) * kColumns * sizeof(float)),
        y(kGpu, x.bytes()) {
    set(value);
    y.fill(0xff);
    tensors[0] = {x.data(), 2, 0, 2, 2, 32, 1, shape, nullptr, 0};
    tensors[1] = {y.data(), 2, 0, 2, 2, 32, 1, shape, nullptr, 0};
  }
  void set(float value) {
    const std::vector<float> values(x.bytes() / sizeof(float), value);
    x.upload(std::as_bytes(std::span(values)));
  }
  bool operator()(const AppliedDefinition& definition, Stream stream) const {
    return definition({strobe_tensor(&tensors[0]), strobe_float(2), strobe_tensor(&tensors[1])}, stream);
  }
  std::vector<float> result() const {
    std::vector<float> values(y.bytes() / sizeof(float));
    y.download(std::as_writable_bytes(std::span(values)));
    return values;
  }

  std::int64_t shape[2];
  cuda::DeviceBuffer x, y;
  StrobeTensor tensors[2];
};

class CudaApply : public test::GpuTest {
 protected:
  CudaApply() : root_(fs::temp_directory_path() / fmt::format("strobe_cuda_apply_{}", getpid())) {}
  ~CudaApply() override { fs::remove_all(root_); }
  void SetUp() override {
    GpuTest::SetUp();
    if (IsSkipped()) return;
    fs::remove_all(root_);
    fs::create_directories(root_);
    DataSet set(root_);
    set.add(read_definition(parse_json(R"({"name": "scale", "op_type": "scale",
      "axes": {"rows": {"type": "var"}, "hidden": {"type": "const", "value": 64}},
      "inputs": {"x": {"shape": ["rows", "hidden"], "dtype": "float32"}, "s": {"shape": null, "dtype": "float32"}},
      "outputs": {"y": {"shape": ["rows", "hidden"], "dtype": "float32"}},
      "reference": "def run(x, s):\n    return x * s\n"})",
                                       "d"),
                            "d"));
    set.add(read_solution(
        {{"name", "raw"},
         {"definition", "scale"},
         {"author", "me"},
         {"spec", {{"language", "cuda"}, {"target_hardware", {"GPU"}}, {"entry_point", "main.cu::scale"}}},
         {"sources", {{{"path", "main.cu"}, {"content", R"(// launch: grid(rows) block(hidden)
extern "C" __global__ void __launch_bounds__(64) scale(const Arguments a) {
  const long long i = blockIdx.x * hidden + threadIdx.x;
  a.y[i] = a.x[i] * a.s;
}
)"}}}}},
        "s"));
    const std::string here = cuda::device_facts(kGpu).name;
    for (const auto& [rows, hardware] : {std::pair<std::int64_t, std::string>{4, here}, {5, "another GPU"}})
      set.add(Trace{.definition = "scale",
                    .workload = {.axes = {{"rows", rows}}, .inputs = {}, .uuid = fmt::format("w{}", rows)},
                    .solution = "raw",
                    .evaluation = Evaluation{.status = Status::kPassed,
                                             .environment = {hardware, {}},
                                             .timestamp = "2026-11-20T12:00:00",
                                             .log = "",
                                             .correctness = Correctness{},
                                             .performance = Performance{1, 1, 1}}});
  }

  fs::path root_;
};

TEST_F(CudaApply, ASolutionRunsOnTheCallersStreamAndInGraphs) {
  const Apply apply({.data_set = root_.string()});
  const AppliedDefinition definition = apply.definition("scale");
  const cuda::OwnedStream stream(kGpu);
  Call call(4);
  // The first call of these sizes: nothing is built, loaded or allocated in the capture.
  const cuda::Graph graph(kGpu, stream, [&] { ASSERT_TRUE(call(definition, stream)) << apply.explain(); });
  EXPECT_THAT(call.result(), Each(testing::IsNan()));
  call.set(5);
  graph.launch(stream);
  stream.synchronize();
  EXPECT_THAT(call.result(), Each(10));

  call.set(3);
  EXPECT_TRUE(call(definition, stream));
  stream.synchronize();
  EXPECT_THAT(call.result(), Each(6));
}

TEST_F(CudaApply, TracesOfAnotherGpuAndTensorsOnTheHostHaveNoSolution) {
  const Apply apply({.data_set = root_.string()});
  const AppliedDefinition definition = apply.definition("scale");
  EXPECT_FALSE(Call(5)(definition, {}));
  Call host(4);
  for (StrobeTensor& tensor : host.tensors) tensor.device_type = 1;
  EXPECT_FALSE(host(definition, {})) << "the traces are the GPU's, not the CPU's";
  EXPECT_THAT(apply.explain(), HasSubstr("rows=4 on cpu: 1 calls, the fallback, no traces"));
  EXPECT_THAT(apply.explain(), HasSubstr("rows=5 on cuda:0: 1 calls, the fallback, not measured"));
}

TEST_F(CudaApply, CallsAreRecordedFromDeviceMemoryButNotFromCaptures) {
  WorkloadRecorder recorder({.data_set = root_.string(),
                             .rule = {.keep = RecordKeep::kAll, .values = RecordValues::kAll},
                             .by_definition = {}});
  const cuda::OwnedStream stream(kGpu);
  const Call call(4, 7);
  const auto record = [&] {
    return recorder.record("scale", {strobe_tensor(&call.tensors[0]), strobe_float(2)}, stream);
  };
  EXPECT_TRUE(record());
  const DataSet set(root_);
  const auto file = std::get<FileInput>(*set.workloads().at(0).item.workload.input("x"));
  const Tensor x = read_safetensors_tensor((root_ / file.path).string(), file.tensor_key);
  EXPECT_THAT(std::vector(x.as<float>(), x.as<float>() + 4 * kColumns), Each(7));
  const cuda::Graph graph(kGpu, stream, [&] { EXPECT_FALSE(record()); });
  EXPECT_THAT(recorder.statistics(), HasSubstr("\"a capture\": 1"));
}

}  // namespace
}  // namespace strobe::trace
