#include "trace/record/recorder.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>

#include "core/message.h"
#include "core/safetensors.h"
#include "cuda/capture.h"
#include "cuda/host_view.h"
#include "ffi/values.h"
#include "trace/apply/table.h"
#include "trace/files.h"
#include "trace/json_text.h"

namespace strobe::trace {
namespace {

namespace fs = std::filesystem;

// Of version 4.
std::string new_uuid() {
  static thread_local std::mt19937_64 generator = [] {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device()};
    return std::mt19937_64(seed);
  }();
  const std::uint64_t a = generator(), b = generator();
  return fmt::format("{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}", a >> 32, a >> 16 & 0xffff, a & 0xfff,
                     0x8000 | (b >> 48 & 0x3fff), b & 0xffffffffffff);
}

bool is_total(std::string_view axis) {
  return axis == "total_q" || axis == "total_kv" || axis == "num_kv_indices";
}

// Numbers that are equal for workloads that the rule takes for the same.
std::vector<std::int64_t> kind_of(const RecordRule& rule, const std::vector<std::string>& axes,
                                  const AxisValues& values) {
  if (rule.keep == RecordKeep::kFirstByAxes) return values;
  if (rule.keep != RecordKeep::kFirstByAverageLength) return {};
  const auto value_of = [&](std::string_view name) -> std::int64_t {
    const auto found = std::find(axes.begin(), axes.end(), name);
    return found == axes.end() ? -1 : values[static_cast<std::size_t>(found - axes.begin())];
  };
  const std::int64_t ends = value_of("len_indptr");
  const std::int64_t requests = ends >= 0 ? ends - 1 : value_of("batch_size");
  std::vector<std::int64_t> kind;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    if (axes[i] == "num_pages") continue;
    const bool average = is_total(axes[i]) && requests > 0;
    kind.push_back(average ? std::llround(static_cast<double>(values[i]) / static_cast<double>(requests))
                           : values[i]);
  }
  return kind;
}

ScalarValue scalar_of(const StrobeValue& value) {
  if (value.kind == STROBE_BOOL) return value.as.integer != 0;
  if (value.kind == STROBE_INT) return value.as.integer;
  return value.as.number;
}

bool holds_integers(const StrobeTensor& tensor) {
  constexpr int kInt = 0, kUint = 1, kBool = 6;
  return tensor.dtype_code == kInt || tensor.dtype_code == kUint || tensor.dtype_code == kBool;
}

std::int64_t bytes_below(const fs::path& folder) {
  std::int64_t bytes = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    std::error_code gone;  // another process may just have renamed it
    if (it->is_regular_file(gone) && !gone) {
      const std::uintmax_t size = it->file_size(gone);
      if (!gone) bytes += static_cast<std::int64_t>(size);
    }
  }
  return bytes;
}

}  // namespace

Recorder::Recorder(const RecordOptions& options)
    : options_(options),
      set_(options.data_set, Dialect::kBench, [](const Problem&) {}),
      workloads_(static_cast<std::int64_t>(set_.workloads().size())),
      bytes_(bytes_below(set_.root() / "blob" / "workloads")) {}

Recorder::Known* Recorder::find(std::string_view name) {
  if (const auto found = known_.find(name); found != known_.end()) return &found->second;
  const Definition* definition = set_.definition(name);
  if (definition == nullptr) fail(ErrorKind::kInvalidArgument, "there is no definition '{}'", name);
  const auto rule = options_.by_definition.find(definition->name);
  Known known{.definition = definition,
              .signature = Signature(*definition),
              .rule = rule == options_.by_definition.end() ? options_.rule : rule->second};
  const std::vector<std::string> axes = variable_axes(*definition);
  for (const Workload* workload : set_.workloads_of(name)) {
    AxisValues values;
    for (const std::string& axis : axes) values.push_back(workload->axis(axis).value_or(-1));
    ++known.kept[kind_of(known.rule, axes, values)];
  }
  return &known_.emplace(name, std::move(known)).first->second;
}

bool Recorder::record(std::string_view definition, std::span<const StrobeValue> arguments, Stream stream) {
  const std::lock_guard lock(mutex_);
  Known* known = nullptr;
  try {
    known = find(definition);
  } catch (const Error& error) {
    ++unknown_[error.what()];
    return false;
  }
  const std::string why = try_record(*known, arguments, stream);
  if (why.empty())
    ++known->recorded;
  else
    ++known->passed_over[why];
  return why.empty();
}

std::string Recorder::try_record(Known& known, std::span<const StrobeValue> arguments, Stream stream) {
  if (ended_) return "the disk takes no more";
  if (known.rule.keep == RecordKeep::kNone) return "the rule";
  CallKey key;
  const Signature::Reading reading = known.signature.read(arguments, key, Signature::Strides::kAny);
  if (reading.mismatch != Mismatch::kNone) return known.signature.explain(reading, arguments);
  const AxisValues values(key.axes.begin(),
                          key.axes.begin() + static_cast<std::ptrdiff_t>(known.signature.axes()));
  int* kept = nullptr;
  if (known.rule.keep != RecordKeep::kAll) {
    const std::vector<std::int64_t> kind = kind_of(known.rule, variable_axes(*known.definition), values);
    const auto found = known.kept.find(kind);
    if (found != known.kept.end() && found->second >= known.rule.count) return "the rule";
    if (workloads_ < options_.max_workloads) kept = &known.kept[kind];
  }
  if (workloads_ >= options_.max_workloads) return "max_workloads";
  if (key.device.type == DeviceType::kCuda && cuda::is_capturing(key.device, stream)) return "a capture";
  try {
    write(known, arguments, key, stream);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kIo) return error.what();
    ended_ = true;
    std::fprintf(stderr, "strobe: no more calls are recorded: %s\n", error.what());
    return error.what();
  }
  ++workloads_;
  if (kept != nullptr) ++*kept;
  return {};
}

std::vector<std::string> Recorder::stored_inputs(const Known& known,
                                                 std::span<const StrobeValue> arguments) const {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < known.definition->inputs.size(); ++i) {
    const StrobeTensor* tensor = ffi::tensor_of(arguments[i]);
    const std::string& input = known.definition->inputs[i].name;
    const std::vector<std::string>& named = known.rule.names;
    const bool stored =
        tensor != nullptr && (known.rule.values == RecordValues::kAll ||
                              (known.rule.values == RecordValues::kIntegers && holds_integers(*tensor)) ||
                              (known.rule.values == RecordValues::kNamed &&
                               std::find(named.begin(), named.end(), input) != named.end()));
    names.push_back(stored ? input : "");
  }
  return names;
}

void Recorder::write(Known& known, std::span<const StrobeValue> arguments, const CallKey& key,
                     Stream stream) {
  Trace trace{.definition = known.definition->name,
              .workload = {.axes = {}, .inputs = {}, .uuid = new_uuid()},
              .solution = {},
              .evaluation = {}};
  std::size_t number = 0;
  for (const std::string& axis : variable_axes(*known.definition))
    trace.workload.axes.emplace_back(axis, key.axes[number++]);
  const fs::path blob = set_.blob_place(known.definition->name, trace.workload.uuid);
  std::vector<cuda::HostView> views;
  std::vector<std::string> stored = stored_inputs(known, arguments);
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < stored.size(); ++i) {
    const std::string& input = known.definition->inputs[i].name;
    if (arguments[i].kind == STROBE_NONE) continue;
    const StrobeTensor* tensor = ffi::tensor_of(arguments[i]);
    if (tensor == nullptr) {
      trace.workload.inputs.emplace_back(input, ScalarInput{scalar_of(arguments[i])});
    } else if (stored[i].empty()) {
      trace.workload.inputs.emplace_back(input, RandomInput{});
    } else {
      trace.workload.inputs.emplace_back(input, FileInput{blob.generic_string(), input});
      const TensorView view = ffi::view_of(*tensor, input);
      bytes += view.bytes();
      if (bytes_ + bytes > options_.max_bytes) fail(ErrorKind::kOutOfMemory, "max_bytes");
      views.emplace_back(view, stream);
    }
  }
  stored.erase(std::remove(stored.begin(), stored.end(), ""), stored.end());
  if (!views.empty()) {
    std::vector<NamedView> named;
    for (std::size_t i = 0; i < views.size(); ++i) named.push_back({stored[i], views[i].view()});
    const fs::path file = set_.root() / blob, temporary = file.string() + ".tmp";
    std::error_code error;
    fs::create_directories(file.parent_path(), error);
    try {
      write_safetensors(temporary.string(), named);
      sync_file(temporary);
      fs::rename(temporary, file, error);
      if (error) fail(ErrorKind::kIo, "{}: cannot be written: {}", file.string(), error.message());
    } catch (...) {
      fs::remove(temporary, error);
      throw;
    }
  }
  append_line(set_.root() / set_.place_of(trace), one_line(to_json(trace)));
  bytes_ += bytes;
}

Json Recorder::statistics() const {
  const std::lock_guard lock(mutex_);
  Json definitions = Json::object();
  for (const auto& [name, known] : known_)
    definitions[name] = {{"recorded", known.recorded}, {"passed over", known.passed_over}};
  return {{"data_set", set_.root().string()},
          {"definitions", definitions},
          {"unknown", unknown_},
          {"bytes", bytes_}};
}

}  // namespace strobe::trace

namespace strobe::inline v1 {

WorkloadRecorder::WorkloadRecorder(const RecordOptions& options)
    : state_(std::make_shared<trace::Recorder>(options)) {}

bool WorkloadRecorder::record(std::string_view definition, std::span<const StrobeValue> arguments,
                              Stream stream) {
  return static_cast<trace::Recorder*>(state_.get())->record(definition, arguments, stream);
}

std::string WorkloadRecorder::statistics() const {
  return trace::indented(static_cast<const trace::Recorder*>(state_.get())->statistics());
}

}  // namespace strobe::inline v1
