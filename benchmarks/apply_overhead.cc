// What apply() adds to a call: `apply_overhead`. The solution does nothing, so that all of the time is the
// look-up's. `Hit` has the three tensors of an rmsnorm, `HitPagedDecode` the nine arguments of paged
// attention.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "cpu/model_name.h"
#include "strobe/apply.h"

namespace {

namespace fs = std::filesystem;

int nothing(void*, const StrobeValue*, std::int32_t, StrobeValue*) { return 0; }

void write(const fs::path& file, const std::string& text) {
  fs::create_directories(file.parent_path());
  std::ofstream(file) << text;
}

// A data set of one definition, one solution and a trace at one size.
class DataSet {
 public:
  DataSet(const std::string& definition, const std::string& axes)
      : root_(fs::temp_directory_path() / ("strobe_apply_overhead_" + std::to_string(getpid()))) {
    write(root_ / "definitions/op/d.json", definition);
    write(
        root_ / "solutions/me/op/d/s.json",
        R"({"name": "s", "definition": "d", "author": "me", "spec": {"language": "python", "target_hardware": ["CPU"],
              "entry_point": "main.py::run"}, "sources": [{"path": "main.py", "content": "def run(): 0"}]})");
    write(
        root_ / "traces/me/op/d.jsonl",
        R"({"definition": "d", "solution": "s", "workload": {"axes": )" + axes +
            R"(, "inputs": {}, "uuid": "w"}, "evaluation": {"status": "PASSED", "environment": {"hardware": ")" +
            strobe::cpu::model_name() +
            R"("}, "timestamp": "2026", "correctness": {}, "performance": {"latency_ms": 1}}})" + "\n");
    apply_.emplace(strobe::ApplyOptions{.data_set = root_.string()});
    apply_->provide("s", nothing);
  }
  ~DataSet() { fs::remove_all(root_); }
  strobe::AppliedDefinition definition() const { return apply_->definition("d"); }

 private:
  fs::path root_;
  std::optional<strobe::Apply> apply_;
};

struct Matrix {
  Matrix(std::vector<std::int64_t> extents, int code) : shape(std::move(extents)) {
    tensor = {nullptr,
              1,
              0,
              static_cast<std::int32_t>(shape.size()),
              static_cast<std::uint8_t>(code),
              32,
              1,
              shape.data(),
              nullptr,
              0};
  }
  std::vector<std::int64_t> shape;
  StrobeTensor tensor;
};
constexpr int kInt = 0, kFloat = 2;

const char* const kNorm = R"({"name": "d", "op_type": "op", "reference": "def run(x, w): pass",
  "axes": {"rows": {"type": "var"}, "n": {"type": "const", "value": 4096}},
  "inputs": {"x": {"shape": ["rows", "n"], "dtype": "float32"}, "w": {"shape": ["n"], "dtype": "float32"}},
  "outputs": {"y": {"shape": ["rows", "n"], "dtype": "float32"}}})";

void run_norm(benchmark::State& state, std::int64_t rows, bool expected) {
  const DataSet set(kNorm, R"({"rows": 16})");
  const strobe::AppliedDefinition definition = set.definition();
  Matrix x({rows, 4096}, kFloat), w({4096}, kFloat), y({rows, 4096}, kFloat);
  const std::array<StrobeValue, 3> arguments = {strobe_tensor(&x.tensor), strobe_tensor(&w.tensor),
                                                strobe_tensor(&y.tensor)};
  for (auto _ : state)
    if (definition(arguments) != expected) return state.SkipWithError("another route than expected");
}
void Hit(benchmark::State& state) { run_norm(state, 16, true); }
void Miss(benchmark::State& state) { run_norm(state, 17, false); }
BENCHMARK(Hit);
BENCHMARK(Miss);

void HitPagedDecode(benchmark::State& state) {
  const DataSet set(R"({"name": "d", "op_type": "op", "reference": "def run(): pass",
    "axes": {"batch_size": {"type": "var"}, "num_pages": {"type": "var"}, "len_indptr": {"type": "var"},
             "num_kv_indices": {"type": "var"}, "h": {"type": "const", "value": 32}, "kv": {"type": "const", "value": 8},
             "d": {"type": "const", "value": 128}, "ps": {"type": "const", "value": 16}},
    "inputs": {"q": {"shape": ["batch_size", "h", "d"], "dtype": "float32"},
               "k_cache": {"shape": ["num_pages", "ps", "kv", "d"], "dtype": "float32"},
               "v_cache": {"shape": ["num_pages", "ps", "kv", "d"], "dtype": "float32"},
               "kv_indptr": {"shape": ["len_indptr"], "dtype": "int32"},
               "kv_indices": {"shape": ["num_kv_indices"], "dtype": "int32"},
               "kv_last_page_len": {"shape": ["batch_size"], "dtype": "int32"}, "sm_scale": {"shape": null, "dtype": "float32"}},
    "outputs": {"output": {"shape": ["batch_size", "h", "d"], "dtype": "float32"},
                "lse": {"shape": ["batch_size", "h"], "dtype": "float32"}}})",
                    R"({"batch_size": 8, "num_pages": 64, "len_indptr": 9, "num_kv_indices": 50})");
  const strobe::AppliedDefinition definition = set.definition();
  Matrix q({8, 32, 128}, kFloat), k({64, 16, 8, 128}, kFloat), v({64, 16, 8, 128}, kFloat), indptr({9}, kInt),
      indices({50}, kInt), last({8}, kInt), out({8, 32, 128}, kFloat), lse({8, 32}, kFloat);
  const std::array<StrobeValue, 9> arguments = {
      strobe_tensor(&q.tensor),      strobe_tensor(&k.tensor),       strobe_tensor(&v.tensor),
      strobe_tensor(&indptr.tensor), strobe_tensor(&indices.tensor), strobe_tensor(&last.tensor),
      strobe_float(0.088),           strobe_tensor(&out.tensor),     strobe_tensor(&lse.tensor)};
  for (auto _ : state)
    if (!definition(arguments)) return state.SkipWithError("expected a hit");
}
BENCHMARK(HitPagedDecode);

}  // namespace
