#include "trace/apply/native.h"

#include <array>

#include "core/env.h"
#include "core/message.h"
#include "ffi/values.h"
#include "trace/build/builder.h"
#include "trace/build/tvm_ffi.h"

namespace strobe::trace {
namespace {

// Solutions get what they were measured with: borrowed tensors, whatever objects Python has brought.
constexpr std::int32_t kMostArguments = 64;

}  // namespace

NativeCode native_code(const Definition& definition, const Solution& solution) {
  if (!is_native(solution))
    fail(ErrorKind::kUnsupported, "it is in {}, which runs from Python only", solution.language);
  BuildOptions options;
  if (const auto python = env::text(env::Variable::kPython)) options.python = *python;
  const std::shared_ptr<const NativeFunction> function = build(definition, solution, options);
  const auto call = [](void* self, const StrobeValue* arguments, std::int32_t count, StrobeValue* result) {
    std::array<StrobeValue, kMostArguments> plain;
    if (count < 0 || count > kMostArguments) {
      set_error("a solution takes at most 64 arguments");
      return -1;
    }
    for (std::int32_t i = 0; i < count; ++i) {
      const StrobeTensor* tensor = ffi::tensor_of(arguments[i]);
      plain[static_cast<std::size_t>(i)] = tensor == nullptr ? arguments[i] : strobe_tensor(tensor);
    }
    return static_cast<const NativeFunction*>(self)->call(plain.data(), count, result);
  };
  return {call, const_cast<NativeFunction*>(function.get()), function};
}

void call_native(const NativeCode& code, const std::string& solution, std::span<const StrobeValue> arguments,
                 Device device, Stream stream) {
  if (device.type == DeviceType::kCuda) set_stream(device.index, stream.handle);
  StrobeValue result = strobe_none();
  if (code.call(code.self, arguments.data(), static_cast<std::int32_t>(arguments.size()), &result) != 0)
    fail(ErrorKind::kInvalidArgument, "solution '{}' failed: {}", solution, take_error());
}

}  // namespace strobe::trace
