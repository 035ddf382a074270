// The functions of the library that tvm-ffi's languages see beside the operators themselves: binding an
// operator's arguments by name, once, for calls by position.
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "core/message.h"
#include "ffi/describe.h"
#include "ffi/function.h"
#include "ffi/tvm_call.h"
#include "ffi/values.h"

namespace strobe::ffi::tvm {
namespace {

void expect_count(const char* function, std::int32_t got, std::int32_t want) {
  if (got != want)
    fail(ErrorKind::kInvalidArgument, "{}: expected {} arguments, got {}", function, want, got);
}

std::string_view expect_text(const char* function, const char* argument, const StrobeValue& value) {
  if (const std::optional<std::string_view> text = text_of(value)) return *text;
  throw TypeError(fmt::format("{}: {}: expected a string, got {}", function, argument, kind_name(value)));
}

StrobeFunction* expect_handle(const char* function, const StrobeValue& value) {
  if (value.kind != kOpaquePtr || value.as.string == nullptr)
    throw TypeError(fmt::format("{}: expected a bound function, got {}", function, kind_name(value)));
  return reinterpret_cast<StrobeFunction*>(const_cast<char*>(value.as.string));
}

// "input,weight,out"; "" has none.
std::vector<std::string_view> split(std::string_view names) {
  std::vector<std::string_view> list;
  while (!names.empty()) {
    const std::size_t comma = std::min(names.find(','), names.size());
    list.push_back(names.substr(0, comma));
    names.remove_prefix(std::min(comma + 1, names.size()));
  }
  return list;
}

Bound parse_bound(std::string_view text) {
  if (text == "plan") return Bound::kPlan;
  if (text == "again") return Bound::kAgain;
  if (text == "run") return Bound::kRun;
  fail(ErrorKind::kInvalidArgument, "strobe_bind_to: expected plan, again or run, got '{}'", text);
}

StrobeValue pointer(void* handle) {
  StrobeValue value = strobe_none();
  value.kind = kOpaquePtr;
  value.as.string = static_cast<const char*>(handle);
  return value;
}

}  // namespace
}  // namespace strobe::ffi::tvm

extern "C" {

using namespace strobe::ffi;
using namespace strobe::ffi::tvm;

// () -> the declarations as JSON
STROBE_API int __tvm_ffi_strobe_describe(void*, const StrobeValue*, std::int32_t count, StrobeValue* result) {
  return guarded([&] {
    expect_count("strobe_describe", count, 0);
    const std::string& text = describe_operators();
    const ByteArray bytes{text.data(), text.size()};
    if (library().make_string(&bytes, result) != 0) throw std::bad_alloc();
  });
}

// (operator, "argument,argument,…", backend) -> a handle, which strobe_function takes; the plan of an
// operator that has one
STROBE_API int __tvm_ffi_strobe_bind(void*, const StrobeValue* args, std::int32_t count,
                                     StrobeValue* result) {
  return guarded([&] {
    expect_count("strobe_bind", count, 3);
    *result = pointer(new StrobeFunction(expect_text("strobe_bind", "operator", args[0]),
                                         split(expect_text("strobe_bind", "arguments", args[1])),
                                         parse_backend(expect_text("strobe_bind", "backend", args[2]))));
  });
}

// (handle of a plan, "plan", "again" or "run", "argument,argument,…") -> the handle of another function of
// its (function.h: Bound); the plan's is still the caller's
STROBE_API int __tvm_ffi_strobe_bind_to(void*, const StrobeValue* args, std::int32_t count,
                                        StrobeValue* result) {
  return guarded([&] {
    expect_count("strobe_bind_to", count, 3);
    *result = pointer(new StrobeFunction(expect_handle("strobe_bind_to", args[0])->function,
                                         parse_bound(expect_text("strobe_bind_to", "bound", args[1])),
                                         split(expect_text("strobe_bind_to", "arguments", args[2]))));
  });
}

// (handle) -> a tvm-ffi function that owns it
STROBE_API int __tvm_ffi_strobe_function(void*, const StrobeValue* args, std::int32_t count,
                                         StrobeValue* result) {
  return guarded([&] {
    expect_count("strobe_function", count, 1);
    void* made = nullptr;
    const auto call_self = [](void* self, const StrobeValue* values, std::int32_t n, StrobeValue* out) {
      return call(static_cast<const StrobeFunction*>(self)->function, values, n, out);
    };
    const auto release = [](void* self) { strobe_release(static_cast<StrobeFunction*>(self)); };
    if (library().make_function(expect_handle("strobe_function", args[0]), call_self, release, &made) != 0)
      throw std::bad_alloc();
    *result = pointer(made);
    result->kind = kFunction;
  });
}

}  // extern "C"
