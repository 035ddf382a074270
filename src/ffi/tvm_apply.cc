// What tvm-ffi's languages see of apply, of recorders and of the trace schema: handles, functions of single
// definitions, and JSON texts.
#include <algorithm>
#include <limits>
#include <memory>
#include <string>

#include "core/message.h"
#include "ffi/tvm_call.h"
#include "ffi/values.h"
#include "trace/apply/explain.h"
#include "trace/apply/native.h"
#include "trace/apply/runtime.h"
#include "trace/fields.h"
#include "trace/files.h"
#include "trace/json_text.h"
#include "trace/record/recorder.h"

namespace strobe::ffi::tvm {
namespace {

using trace::ApplyRuntime;
using trace::Field;
using trace::Json;
using trace::Recorder;

template <class T>
struct Handle {
  std::shared_ptr<T> object;
};

void expect_count(const char* function, std::int32_t got, std::int32_t want) {
  if (got != want)
    fail(ErrorKind::kInvalidArgument, "{}: expected {} arguments, got {}", function, want, got);
}

std::string expect_text(const char* function, const char* argument, const StrobeValue& value) {
  if (const std::optional<std::string_view> text = text_of(value)) return std::string(*text);
  throw TypeError(fmt::format("{}: {}: expected a string, got {}", function, argument, kind_name(value)));
}

template <class T>
std::shared_ptr<T> expect_handle(const char* function, const StrobeValue& value) {
  if (value.kind != kOpaquePtr || value.as.string == nullptr)
    throw TypeError(fmt::format("{}: expected a handle, got {}", function, kind_name(value)));
  return reinterpret_cast<const Handle<T>*>(value.as.string)->object;
}

template <class T>
StrobeValue new_handle(std::shared_ptr<T> object) {
  StrobeValue value = strobe_none();
  value.kind = kOpaquePtr;
  value.as.string = reinterpret_cast<const char*>(new Handle<T>{std::move(object)});
  return value;
}

template <class T>
void delete_handle(const StrobeValue& value) {
  if (value.kind == kOpaquePtr) delete reinterpret_cast<const Handle<T>*>(value.as.string);
}

void set_text(const std::string& text, StrobeValue* result) {
  const ByteArray bytes{text.data(), text.size()};
  if (library().make_string(&bytes, result) != 0) throw std::bad_alloc();
}

// A tvm-ffi function that owns a `Self`.
template <class Self>
void set_function(std::unique_ptr<Self> self, StrobeValue* result) {
  void* made = nullptr;
  const auto call = [](void* object, const StrobeValue* values, std::int32_t count, StrobeValue* out) {
    try {
      return (*static_cast<const Self*>(object))(std::span(values, static_cast<std::size_t>(count)), out);
    } catch (...) {
      return raise_current();
    }
  };
  const auto release = [](void* object) { delete static_cast<Self*>(object); };
  if (library().make_function(self.get(), call, release, &made) != 0) throw std::bad_alloc();
  self.release();
  *result = strobe_none();
  result->kind = kFunction;
  result->as.string = static_cast<const char*>(made);
}

// The calls of a definition. Nothing: the solution has run. Else the number of the solution that the host is
// to run, or to give outputs; -1: none.
struct Dispatch {
  std::shared_ptr<const ApplyRuntime> runtime;
  const trace::RoutedDefinition* definition;

  int operator()(std::span<const StrobeValue> values, StrobeValue* result) const {
    const trace::RoutedCall* routed = definition->look_up(values);
    if (routed == nullptr || routed->solution < 0) {
      *result = strobe_int(-1);
    } else if (routed->native == nullptr || values.size() != definition->signature()->arguments()) {
      *result = strobe_int(routed->solution);
    } else {
      *result = strobe_none();
      StrobeValue ignored = strobe_none();
      return routed->native->call(routed->native->self, values.data(),
                                  static_cast<std::int32_t>(values.size()), &ignored);
    }
    return 0;
  }
};

// A solution's own function.
struct Code {
  trace::NativeCode code;

  int operator()(std::span<const StrobeValue> values, StrobeValue* result) const {
    return code.call(code.self, values.data(), static_cast<std::int32_t>(values.size()), result);
  }
};

struct Record {
  std::shared_ptr<Recorder> recorder;
  std::string definition;

  int operator()(std::span<const StrobeValue> values, StrobeValue* result) const {
    Stream stream;
    for (const StrobeValue& value : values)
      if (const StrobeTensor* tensor = tensor_of(value); tensor != nullptr && tensor->device_type == 2) {
        stream.handle = library().get_stream(tensor->device_type, tensor->device_index);
        break;
      }
    *result = strobe_bool(recorder->record(definition, values, stream));
    return 0;
  }
};

Json parse_options(const char* function, const StrobeValue& value) {
  return trace::parse_json(expect_text(function, "options", value), function);
}

double bound(const Field& options, const char* key) {
  return trace::value_or(options, key, &Field::number, std::numeric_limits<double>::infinity());
}

std::shared_ptr<ApplyRuntime> open_apply(const Json& json) {
  const Field options(json, "apply");
  ApplyOptions parsed{.data_set = options.at("data_set").name(),
                      .max_absolute_error = bound(options, "max_absolute_error"),
                      .max_relative_error = bound(options, "max_relative_error"),
                      .hardware = trace::value_or(options, "hardware", &Field::text, std::string())};
  parsed.nearest_octaves = trace::value_or(options, "nearest_octaves", &Field::number, 1.0);
  if (const auto on_miss = options.find("on_miss"))
    parsed.on_miss = static_cast<ApplyMiss>(trace::parse_miss_policy(on_miss->text()));
  const std::vector<std::string> languages = options.at("host_languages").names();
  return std::make_shared<ApplyRuntime>(parsed, std::set<std::string>(languages.begin(), languages.end()));
}

RecordRule parse_rule(const Field& field) {
  RecordRule rule;
  const auto number_of = [&](const char* key, std::initializer_list<std::string_view> names, int otherwise) {
    const auto member = field.find(key);
    if (!member) return otherwise;
    const std::string chosen = member->choice(names);
    return static_cast<int>(std::find(names.begin(), names.end(), chosen) - names.begin());
  };
  rule.keep = static_cast<RecordKeep>(
      number_of("keep", {"all", "none", "first", "first_by_axes", "first_by_average_length"},
                static_cast<int>(rule.keep)));
  rule.values = static_cast<RecordValues>(
      number_of("values", {"integers", "all", "none", "named"}, static_cast<int>(rule.values)));
  rule.count = static_cast<int>(trace::value_or(field, "count", &Field::count, std::int64_t{1}));
  rule.names = trace::value_or(field, "names", &Field::names, std::vector<std::string>());
  return rule;
}

std::shared_ptr<Recorder> open_recorder(const Json& json) {
  const Field options(json, "record");
  RecordOptions parsed{.data_set = options.at("data_set").name(), .rule = {}, .by_definition = {}};
  if (const auto rule = options.find("rule")) parsed.rule = parse_rule(*rule);
  if (const auto rules = options.find("by_definition"))
    for (const auto& [name, rule] : rules->members()) parsed.by_definition[name] = parse_rule(rule);
  parsed.max_workloads = trace::value_or(options, "max_workloads", &Field::count, parsed.max_workloads);
  parsed.max_bytes = trace::value_or(options, "max_bytes", &Field::count, parsed.max_bytes);
  return std::make_shared<Recorder>(parsed);
}

Json names_of_solutions(const ApplyRuntime& runtime) {
  Json names = Json::array();
  for (const auto& [name, stored] : runtime.data_set().solutions()) names.push_back(name);
  return names;
}

Json winners(const ApplyRuntime& runtime) {
  Json list = Json::array();
  for (const trace::Solution* solution : runtime.winners_of_host()) list.push_back(trace::to_json(*solution));
  return list;
}

}  // namespace
}  // namespace strobe::ffi::tvm

extern "C" {

using namespace strobe;
using namespace strobe::ffi::tvm;

// (options as JSON: data_set, host_languages, on_miss, nearest_octaves, max_absolute_error,
// max_relative_error, hardware) -> a handle, which strobe_apply_close takes
STROBE_API int __tvm_ffi_strobe_apply_open(void*, const StrobeValue* args, std::int32_t count,
                                           StrobeValue* result) {
  return guarded([&] {
    expect_count("strobe_apply_open", count, 1);
    *result = new_handle(open_apply(parse_options("strobe_apply_open", args[0])));
  });
}

// (handle) -> nothing; functions made from it stay usable
STROBE_API int __tvm_ffi_strobe_apply_close(void*, const StrobeValue* args, std::int32_t count,
                                            StrobeValue*) {
  return guarded([&] {
    expect_count("strobe_apply_close", count, 1);
    delete_handle<ApplyRuntime>(args[0]);
  });
}

// (handle, what) -> a text: "solutions", their names in the order of their numbers; "winners", those that the
// host is to run, as the schema has them; "statistics", all three JSON; "explain", for people
STROBE_API int __tvm_ffi_strobe_apply_text(void*, const StrobeValue* args, std::int32_t count,
                                           StrobeValue* result) {
  return guarded([&] {
    expect_count("strobe_apply_text", count, 2);
    const auto runtime = expect_handle<ApplyRuntime>("strobe_apply_text", args[0]);
    const std::string what = expect_text("strobe_apply_text", "what", args[1]);
    if (what == "explain") return set_text(trace::statistics_text(runtime->statistics()), result);
    if (what == "statistics") return set_text(trace::one_line(runtime->statistics()), result);
    if (what == "solutions") return set_text(trace::one_line(names_of_solutions(*runtime)), result);
    if (what == "winners") return set_text(trace::one_line(winners(*runtime)), result);
    fail(ErrorKind::kInvalidArgument, "strobe_apply_text: unknown text '{}'", what);
  });
}

// (handle, definition, reason) -> nothing; counts a call that was not brought to the definition's function
STROBE_API int __tvm_ffi_strobe_apply_count(void*, const StrobeValue* args, std::int32_t count,
                                            StrobeValue*) {
  return guarded([&] {
    expect_count("strobe_apply_count", count, 3);
    expect_handle<ApplyRuntime>("strobe_apply_count", args[0])
        ->definition(expect_text("strobe_apply_count", "definition", args[1]))
        .refuse(expect_text("strobe_apply_count", "reason", args[2]));
  });
}

// (handle, solution, reason) -> nothing; the host cannot run it
STROBE_API int __tvm_ffi_strobe_apply_refuse(void*, const StrobeValue* args, std::int32_t count,
                                             StrobeValue*) {
  return guarded([&] {
    expect_count("strobe_apply_refuse", count, 3);
    expect_handle<ApplyRuntime>("strobe_apply_refuse", args[0])
        ->refuse(expect_text("strobe_apply_refuse", "solution", args[1]),
                 expect_text("strobe_apply_refuse", "reason", args[2]));
  });
}

// (handle, definition) -> the function that Dispatch says
STROBE_API int __tvm_ffi_strobe_apply_function(void*, const StrobeValue* args, std::int32_t count,
                                               StrobeValue* result) {
  return guarded([&] {
    expect_count("strobe_apply_function", count, 2);
    const std::shared_ptr<const ApplyRuntime> runtime =
        expect_handle<ApplyRuntime>("strobe_apply_function", args[0]);
    const std::string name = expect_text("strobe_apply_function", "definition", args[1]);
    set_function(std::make_unique<Dispatch>(Dispatch{runtime, &runtime->definition(name)}), result);
  });
}

// (handle, solution) -> its code, called with inputs and outputs; nothing when it is not native
STROBE_API int __tvm_ffi_strobe_apply_code(void*, const StrobeValue* args, std::int32_t count,
                                           StrobeValue* result) {
  return guarded([&] {
    expect_count("strobe_apply_code", count, 2);
    const std::shared_ptr<const ApplyRuntime> runtime =
        expect_handle<ApplyRuntime>("strobe_apply_code", args[0]);
    const trace::Solution* solution =
        runtime->data_set().solution(expect_text("strobe_apply_code", "solution", args[1]));
    const trace::NativeCode* code = solution == nullptr ? nullptr : runtime->native(*solution);
    *result = strobe_none();
    if (code != nullptr) set_function(std::make_unique<Code>(Code{*code}), result);
  });
}

// (definition, solution as JSON) -> the code of a solution in C++ or CUDA, built and loaded
STROBE_API int __tvm_ffi_strobe_solution_build(void*, const StrobeValue* args, std::int32_t count,
                                               StrobeValue* result) {
  return guarded([&] {
    expect_count("strobe_solution_build", count, 2);
    const Json definition = parse_options("strobe_solution_build", args[0]);
    const Json solution = parse_options("strobe_solution_build", args[1]);
    set_function(
        std::make_unique<Code>(Code{trace::native_code(trace::read_definition(definition, "definition"),
                                                       trace::read_solution(solution, "solution"))}),
        result);
  });
}

// (options as JSON: data_set, rule, by_definition, max_workloads, max_bytes) -> a handle
STROBE_API int __tvm_ffi_strobe_recorder_open(void*, const StrobeValue* args, std::int32_t count,
                                              StrobeValue* result) {
  return guarded([&] {
    expect_count("strobe_recorder_open", count, 1);
    *result = new_handle(open_recorder(parse_options("strobe_recorder_open", args[0])));
  });
}

// (handle) -> nothing; functions made from it stay usable
STROBE_API int __tvm_ffi_strobe_recorder_close(void*, const StrobeValue* args, std::int32_t count,
                                               StrobeValue*) {
  return guarded([&] {
    expect_count("strobe_recorder_close", count, 1);
    delete_handle<Recorder>(args[0]);
  });
}

// (handle, definition) -> a function of the definition's inputs: whether they were recorded
STROBE_API int __tvm_ffi_strobe_recorder_function(void*, const StrobeValue* args, std::int32_t count,
                                                  StrobeValue* result) {
  return guarded([&] {
    expect_count("strobe_recorder_function", count, 2);
    set_function(
        std::make_unique<Record>(Record{expect_handle<Recorder>("strobe_recorder_function", args[0]),
                                        expect_text("strobe_recorder_function", "definition", args[1])}),
        result);
  });
}

// (handle) -> JSON
STROBE_API int __tvm_ffi_strobe_recorder_statistics(void*, const StrobeValue* args, std::int32_t count,
                                                    StrobeValue* result) {
  return guarded([&] {
    expect_count("strobe_recorder_statistics", count, 1);
    set_text(trace::one_line(expect_handle<Recorder>("strobe_recorder_statistics", args[0])->statistics()),
             result);
  });
}

// ("definition", "solution", "workload" or "trace", JSON, what errors call it, "bench" or "flashinfer") ->
// the JSON as the schema has it, all fields there. The content hash of a solution: "hash", which gives it as
// text.
STROBE_API int __tvm_ffi_strobe_trace_read(void*, const StrobeValue* args, std::int32_t count,
                                           StrobeValue* result) {
  return guarded([&] {
    expect_count("strobe_trace_read", count, 4);
    const std::string kind = expect_text("strobe_trace_read", "kind", args[0]);
    const std::string where = expect_text("strobe_trace_read", "where", args[2]);
    const Json json = trace::parse_json(expect_text("strobe_trace_read", "text", args[1]), where);
    const trace::Dialect dialect = expect_text("strobe_trace_read", "dialect", args[3]) == "flashinfer"
                                       ? trace::Dialect::kFlashInfer
                                       : trace::Dialect::kBench;
    if (kind == "hash")
      return set_text(trace::content_hash(trace::read_solution(json, where, dialect)), result);
    if (kind == "definition")
      return set_text(trace::one_line(trace::to_json(trace::read_definition(json, where, dialect))), result);
    if (kind == "solution")
      return set_text(trace::one_line(trace::to_json(trace::read_solution(json, where, dialect))), result);
    if (kind == "workload")
      return set_text(trace::one_line(trace::to_json(trace::read_workload(json, where))), result);
    if (kind == "trace")
      return set_text(trace::one_line(trace::to_json(trace::read_trace(json, where))), result);
    fail(ErrorKind::kInvalidArgument, "strobe_trace_read: unknown kind '{}'", kind);
  });
}

// (data set) -> its definitions as JSON: {name: definition}; faulty files are passed over
STROBE_API int __tvm_ffi_strobe_trace_definitions(void*, const StrobeValue* args, std::int32_t count,
                                                  StrobeValue* result) {
  return guarded([&] {
    expect_count("strobe_trace_definitions", count, 1);
    const trace::DataSet set(expect_text("strobe_trace_definitions", "data_set", args[0]),
                             trace::Dialect::kBench, [](const trace::Problem&) {});
    Json definitions = Json::object();
    for (const auto& [name, stored] : set.definitions()) definitions[name] = trace::to_json(stored.item);
    set_text(trace::one_line(definitions), result);
  });
}

// (file, text, whether the text is a line to be added) -> nothing; the text is on the disk
STROBE_API int __tvm_ffi_strobe_trace_write(void*, const StrobeValue* args, std::int32_t count,
                                            StrobeValue*) {
  return guarded([&] {
    expect_count("strobe_trace_write", count, 3);
    const std::string file = expect_text("strobe_trace_write", "file", args[0]);
    const std::string text = expect_text("strobe_trace_write", "text", args[1]);
    if (args[2].as.integer != 0)
      trace::append_line(file, text);
    else
      trace::write_file(file, text);
  });
}

}  // extern "C"
