#include "trace/apply/native.h"

#include "core/message.h"

namespace strobe::trace {

NativeCode native_code(const Definition&, const Solution& solution) {
  fail(ErrorKind::kUnsupported, "a solution in {}, which runs from Python only", solution.language);
}

void call_native(const NativeCode& code, const std::string& solution, std::span<const StrobeValue> arguments,
                 Device, Stream) {
  StrobeValue result = strobe_none();
  if (code.call(code.self, arguments.data(), static_cast<std::int32_t>(arguments.size()), &result) != 0)
    fail(ErrorKind::kInvalidArgument, "solution '{}' failed", solution);
}

}  // namespace strobe::trace
