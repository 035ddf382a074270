#include "trace/apply/native.h"

#include "core/env.h"
#include "core/message.h"
#include "trace/build/builder.h"
#include "trace/build/tvm_ffi.h"

namespace strobe::trace {

NativeCode native_code(const Definition& definition, const Solution& solution) {
  if (!is_native(solution))
    fail(ErrorKind::kUnsupported, "it is in {}, which runs from Python only", solution.language);
  BuildOptions options;
  if (const auto python = env::text(env::Variable::kPython)) options.python = *python;
  const std::shared_ptr<const NativeFunction> function = build(definition, solution, options);
  const auto call = [](void* self, const StrobeValue* arguments, std::int32_t count, StrobeValue* result) {
    return static_cast<const NativeFunction*>(self)->call(arguments, count, result);
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
