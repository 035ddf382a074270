#include "strobe/c_api.h"

#include <fmt/format.h>

#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "ffi/describe.h"
#include "ffi/function.h"
#include "strobe/error.h"

namespace {

using strobe::Error;
using strobe::ErrorKind;

std::string& last_error() {
  thread_local std::string message;
  return message;
}

StrobeStatus failed(StrobeStatus status, const char* message) noexcept {
  try {
    last_error() = message;
  } catch (...) {
    last_error().clear();  // no memory for the words; the status stands
  }
  return status;
}

static_assert(static_cast<int>(ErrorKind::kInvalidArgument) + 1 == STROBE_INVALID_ARGUMENT &&
              static_cast<int>(ErrorKind::kIo) + 1 == STROBE_IO);

// Runs `body`, and turns whatever it throws into a status and the thread's message.
template <class Body>
StrobeStatus guarded(Body body) noexcept {
  try {
    body();
    return STROBE_OK;
  } catch (const Error& error) {
    return failed(static_cast<StrobeStatus>(error.kind()) + 1, error.what());
  } catch (const std::bad_alloc&) {
    return failed(STROBE_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception& error) {
    return failed(STROBE_INTERNAL, error.what());
  } catch (...) {
    return failed(STROBE_INTERNAL, "an exception of unknown type");
  }
}

void expect(bool ok, const char* function, const char* what) {
  if (!ok) throw Error(ErrorKind::kInvalidArgument, fmt::format("{}: expected {}", function, what));
}

std::vector<std::string_view> names(const char* function, const char* const* arguments, std::int32_t count) {
  expect(count >= 0 && (count == 0 || arguments != nullptr), function, "`count` argument names, got none");
  std::vector<std::string_view> views;
  for (std::int32_t i = 0; i < count; ++i) {
    expect(arguments[i] != nullptr, function, "argument names, got a null pointer among them");
    views.emplace_back(arguments[i]);
  }
  return views;
}

}  // namespace

extern "C" {

std::uint32_t strobe_abi_version() { return STROBE_ABI_MAJOR << 16 | STROBE_ABI_MINOR; }

const char* strobe_version() { return STROBE_VERSION; }

const char* strobe_last_error() { return last_error().c_str(); }

const char* strobe_describe() {
  const char* text = "[]";
  guarded([&] { text = strobe::ffi::describe_operators().c_str(); });
  return text;
}

StrobeStatus strobe_bind(const char* operator_name, const char* const* arguments, std::int32_t count,
                         const char* backend, StrobeFunction** function) {
  return guarded([&] {
    expect(operator_name != nullptr, "strobe_bind", "the name of an operator, got a null pointer");
    expect(function != nullptr, "strobe_bind", "a place for the function, got a null pointer");
    *function = new StrobeFunction(std::string_view(operator_name), names("strobe_bind", arguments, count),
                                   strobe::ffi::parse_backend(backend == nullptr ? "auto" : backend));
  });
}

StrobeStatus strobe_bind_run(const StrobeFunction* plan, const char* const* arguments, std::int32_t count,
                             StrobeFunction** run) {
  return guarded([&] {
    expect(plan != nullptr, "strobe_bind_run", "a bound plan, got a null pointer");
    expect(run != nullptr, "strobe_bind_run", "a place for the function, got a null pointer");
    *run = new StrobeFunction(plan->function, strobe::ffi::Bound::kRun,
                              names("strobe_bind_run", arguments, count));
  });
}

StrobeStatus strobe_call(const StrobeFunction* function, const StrobeValue* values, std::int32_t count,
                         const StrobeLaunch* launch) {
  return guarded([&] {
    expect(function != nullptr, "strobe_call", "a bound function, got a null pointer");
    expect(count >= 0 && (count == 0 || values != nullptr), "strobe_call", "`count` values, got none");
    expect(launch == nullptr || launch->size >= sizeof(StrobeLaunch), "strobe_call",
           "launch->size to be sizeof(StrobeLaunch)");
    function->function.call({values, static_cast<std::size_t>(count)},
                            {launch == nullptr ? nullptr : launch->stream});
  });
}

std::int64_t strobe_workspace_bytes(const StrobeFunction* plan) {
  return plan == nullptr ? 0 : static_cast<std::int64_t>(plan->function.workspace_bytes());
}

StrobeFunction* strobe_retain(StrobeFunction* function) {
  if (function != nullptr) function->references.fetch_add(1, std::memory_order_relaxed);
  return function;
}

void strobe_release(StrobeFunction* function) {
  if (function != nullptr && function->references.fetch_sub(1, std::memory_order_acq_rel) == 1)
    delete function;
}

}  // extern "C"
