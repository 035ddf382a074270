#include "ffi/tvm_call.h"

#include <dlfcn.h>

#include "core/message.h"
#include "ffi/values.h"

namespace strobe::ffi::tvm {
namespace {

constexpr int kDlCuda = 2;

// Python loads libtvm_ffi for everybody to see; other hosts may not.
void* symbol(const char* name) {
  if (void* found = dlsym(RTLD_DEFAULT, name)) return found;
  static void* const loaded = dlopen("libtvm_ffi.so", RTLD_LAZY | RTLD_NOLOAD);
  return loaded != nullptr ? dlsym(loaded, name) : nullptr;
}

template <class F>
void load(F*& function, const char* name) {
  function = reinterpret_cast<F*>(symbol(name));
  if (function == nullptr)
    fail(ErrorKind::kUnsupported, "tvm-ffi: expected {} in this process, got none; load libtvm_ffi first",
         name);
}

Library load_library() {
  Library library;
  load(library.get_version, "TVMFFIGetVersion");
  load(library.set_error, "TVMFFIErrorSetRaisedFromCStr");
  load(library.get_stream, "TVMFFIEnvGetStream");
  load(library.make_string, "TVMFFIStringFromByteArray");
  load(library.make_function, "TVMFFIFunctionCreate");
  Version version;
  library.get_version(&version);
  if (version.major != 0 || version.minor != 1)
    fail(ErrorKind::kUnsupported, "tvm-ffi: expected version 0.1, got {}.{}.{}", version.major, version.minor,
         version.patch);
  return library;
}

// The names under which tvm-ffi's languages know their errors.
const char* kind_of(const Error& error) {
  switch (error.kind()) {
    case ErrorKind::kInvalidArgument:
      return dynamic_cast<const TypeError*>(&error) != nullptr ? "TypeError" : "ValueError";
    case ErrorKind::kUnsupported:
      return "strobe.Unsupported";
    default:
      return "RuntimeError";
  }
}

int raise(const char* kind, const char* message) noexcept {
  // Without the function that raises there is nobody who could have called in tvm-ffi's convention.
  if (auto* set_error =
          reinterpret_cast<decltype(Library::set_error)>(symbol("TVMFFIErrorSetRaisedFromCStr")))
    set_error(kind, message);
  return -1;
}

Stream stream_of(const Function& function, std::span<const StrobeValue>& values) {
  if (values.size() == function.arity() + 1) {
    const StrobeValue stream = values.back();
    if (stream.kind != STROBE_INT && stream.kind != kOpaquePtr && stream.kind != STROBE_NONE)
      throw TypeError("stream: expected an integer or a pointer, got something else");
    values = values.first(function.arity());
    return {const_cast<char*>(stream.as.string)};
  }
  for (const StrobeValue& value : values)
    if (const StrobeTensor* tensor = tensor_of(value); tensor != nullptr && tensor->device_type == kDlCuda)
      return {library().get_stream(tensor->device_type, tensor->device_index)};
  return {};
}

}  // namespace

const Library& library() {
  static const Library instance = load_library();
  return instance;
}

int raise_current() noexcept {
  try {
    throw;
  } catch (const Error& error) {
    return raise(kind_of(error), error.what());
  } catch (const std::exception& error) {
    return raise("RuntimeError", error.what());
  } catch (...) {
    return raise("RuntimeError", "an exception of unknown type");
  }
}

int call(const Function& function, const StrobeValue* args, std::int32_t count,
         StrobeValue* result) noexcept {
  try {
    std::span<const StrobeValue> values(args, static_cast<std::size_t>(count));
    const Stream stream = stream_of(function, values);
    function.call(values, stream);
    *result =
        function.plans() ? strobe_int(static_cast<std::int64_t>(function.workspace_bytes())) : strobe_none();
    return 0;
  } catch (...) {
    return raise_current();
  }
}

int call_operator(const char* name, std::atomic<const Function*>& bound, const StrobeValue* args,
                  std::int32_t count, StrobeValue* result) noexcept {
  const Function* function = bound.load(std::memory_order_acquire);
  if (function == nullptr) {
    try {
      auto made = std::make_unique<const Function>(*op::registry().find(name));
      if (bound.compare_exchange_strong(function, made.get(), std::memory_order_acq_rel))
        function = made.release();  // for the life of the library
    } catch (...) {
      return raise_current();
    }
  }
  return call(*function, args, count, result);
}

}  // namespace strobe::ffi::tvm
