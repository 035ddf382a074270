#include "strobe/apply.h"

#include "core/env.h"
#include "core/message.h"
#include "trace/apply/explain.h"
#include "trace/apply/native.h"
#include "trace/apply/runtime.h"
#include "trace/json_text.h"

namespace strobe::inline v1 {
namespace {

trace::ApplyRuntime& runtime_of(const std::shared_ptr<void>& runtime) {
  return *static_cast<trace::ApplyRuntime*>(runtime.get());
}

}  // namespace

bool AppliedDefinition::operator()(std::span<const StrobeValue> arguments, Stream stream) const {
  if (definition_ == nullptr) return false;
  const auto& definition = *static_cast<const trace::RoutedDefinition*>(definition_);
  if (const trace::Signature* signature = definition.signature();
      signature != nullptr && arguments.size() != signature->arguments())
    fail(ErrorKind::kInvalidArgument, "apply: {}: expected {} inputs and {} outputs, got {} arguments",
         definition.name(), signature->inputs(), signature->arguments() - signature->inputs(),
         arguments.size());
  const trace::RoutedCall* routed = definition.look_up(arguments);
  if (routed == nullptr || routed->native == nullptr) return false;
  trace::call_native(*routed->native, routed->choice.solution->name, arguments, routed->key.device, stream);
  return true;
}

ApplyOptions ApplyOptions::from_environment() {
  const std::optional<std::string> data_set = env::text(env::Variable::kDatasetPath);
  if (!data_set)
    fail(ErrorKind::kInvalidArgument, "apply: expected the folder of a data set in {} or {}, got none",
         env::entry(env::Variable::kDatasetPath).name, env::entry(env::Variable::kDatasetPath).also);
  ApplyOptions options{.data_set = *data_set};
  if (const std::optional<std::string> on_miss = env::text(env::Variable::kApplyOnMiss))
    options.on_miss = static_cast<ApplyMiss>(trace::parse_miss_policy(*on_miss));
  return options;
}

Apply::Apply(const ApplyOptions& options)
    : runtime_(std::make_shared<trace::ApplyRuntime>(options, std::set<std::string>{})) {}

AppliedDefinition Apply::definition(std::string_view name) const {
  AppliedDefinition result;
  result.owner_ = runtime_;
  result.definition_ = &runtime_of(runtime_).definition(std::string(name));
  return result;
}

void Apply::provide(std::string_view solution, StrobeKernel kernel, void* self) {
  runtime_of(runtime_).provide(std::string(solution), {kernel, self, nullptr});
}

std::string Apply::explain() const { return trace::statistics_text(runtime_of(runtime_).statistics()); }
std::string Apply::statistics() const { return trace::indented(runtime_of(runtime_).statistics()); }

}  // namespace strobe::inline v1
