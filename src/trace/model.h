// The four objects of the FlashInfer-Trace schema: a Definition says what a kernel computes, a Solution is a
// kernel with its sources, a Workload gives a definition's variable axes and inputs, and a Trace is what one
// solution did on one workload. Source: FlashInfer-Bench's schema pages (docs/flashinfer-trace).
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace strobe::trace {

using Json = nlohmann::ordered_json;

// Who wrote a file. FlashInfer's own trace knows more dtypes and languages, optional and in-place tensors,
// and a solution there returns its outputs unless it says otherwise. Files are always written in kBench.
enum class Dialect : std::uint8_t { kBench, kFlashInfer };

struct Axis {
  std::string name;
  std::optional<std::int64_t> value;  // of a constant axis; a variable one has none
  std::optional<std::string> description;
};

struct TensorSpec {
  std::string name;
  std::optional<std::vector<std::string>> shape;  // names of axes; none: a scalar of the host's language
  std::string dtype;
  std::optional<std::string> description;
  bool optional = false;  // kFlashInfer: may be missing in a call
  std::string
      param;  // kFlashInfer: the argument's name in the API, and for an output the one it is written to
};

struct Definition {
  std::string name, op_type;
  std::vector<Axis> axes;
  std::vector<TensorSpec> inputs, outputs;
  std::string reference;  // Python with a function run(inputs in order) at its top level
  std::vector<std::string> tags;
  std::optional<std::string> description;
  std::vector<std::string> constraints;  // Python expressions over axes and integer inputs

  const Axis* axis(std::string_view axis_name) const;
  const TensorSpec* input(std::string_view input_name) const;
};

struct SourceFile {
  std::string path, content;
};

struct Solution {
  std::string name, definition, author;
  std::string language;  // python, triton, cpp, cuda, tilelang
  std::vector<std::string> target_hardware;
  std::string entry_point;  // "path::symbol"
  std::vector<std::string> dependencies;
  bool destination_passing_style = true;  // outputs are arguments, after the inputs
  std::optional<std::string> binding;     // tvm-ffi, torch
  std::vector<SourceFile> sources;
  std::optional<std::string> description;

  std::string_view entry_file() const {
    return std::string_view(entry_point).substr(0, entry_point.find("::"));
  }
  std::string_view entry_symbol() const {
    return std::string_view(entry_point).substr(entry_point.find("::") + 2);
  }
};

struct RandomInput {};
using ScalarValue = std::variant<bool, std::int64_t, double>;
struct ScalarInput {
  ScalarValue value;
};
struct FileInput {   // a tensor of a safetensors file
  std::string path;  // relative to the data set
  std::string tensor_key;
};
using WorkloadInput = std::variant<RandomInput, ScalarInput, FileInput>;

struct Workload {
  std::vector<std::pair<std::string, std::int64_t>> axes;
  std::vector<std::pair<std::string, WorkloadInput>> inputs;
  std::string uuid;

  const WorkloadInput* input(std::string_view name) const;
  std::optional<std::int64_t> axis(std::string_view name) const;
};

enum class Status : std::uint8_t {
  kPassed,
  kIncorrectShape,
  kIncorrectNumerical,
  kIncorrectDtype,
  kRuntimeError,
  kCompileError,
  kTimeout,
};
std::string_view name(Status status);  // "PASSED", …

struct Correctness {
  double max_relative_error = 0, max_absolute_error = 0;  // at least 0, or NaN
  Json extra;                                             // an object, or null
};

struct Performance {
  double latency_ms = 0, reference_latency_ms = 0, speedup_factor = 0;
};

struct Environment {
  std::string hardware;
  std::vector<std::pair<std::string, std::string>> libs;
};

struct Evaluation {
  Status status = Status::kPassed;
  Environment environment;
  std::string timestamp;  // ISO 8601
  std::string log;
  std::optional<Correctness> correctness;  // of kPassed and kIncorrectNumerical
  std::optional<Performance> performance;  // of kPassed
};

// Without solution and evaluation it records a workload alone.
struct Trace {
  std::string definition;
  Workload workload;
  std::optional<std::string> solution;
  std::optional<Evaluation> evaluation;

  bool is_workload() const { return !solution && !evaluation; }
};

// Reading is as lax as FlashInfer-Bench: keys that are unknown are passed over, an axis or an input may lack
// its type, numbers may be texts, true is 1. What breaks a rule of the schema throws Error(kIo):
// "where.key: expected …, got …". `where` is the file, and for a line of a JSONL file also the line.
Definition read_definition(const Json& json, const std::string& where, Dialect dialect = Dialect::kBench);
Solution read_solution(const Json& json, const std::string& where, Dialect dialect = Dialect::kBench);
Workload read_workload(const Json& json, const std::string& where);
Trace read_trace(const Json& json, const std::string& where);

// Strict: every field that the schema has, with its type; numbers that are not finite as texts, where the
// schema takes them.
Json to_json(const Definition& definition);
Json to_json(const Solution& solution);
Json to_json(const Workload& workload);
Json to_json(const Trace& trace);

// FlashInfer-Bench's identity of a solution, 40 hexadecimal digits: SHA-1 over definition, language, entry
// point, binding, dependencies and sources, one after the other. It leaves out the calling convention, the
// hardware and where a field ends; build_key has them.
std::string content_hash(const Solution& solution);
// Everything that a build of the solution depends on: the above with the lengths of all fields, the calling
// convention and what the caller adds (architecture, flags, versions). 64 hexadecimal digits of SHA-256.
std::string build_key(const Solution& solution, const std::vector<std::string>& environment);

}  // namespace strobe::trace
