#include "cuda/architecture.h"

#include <string>
#include <vector>

#include "core/message.h"

namespace strobe::cuda {

std::optional<Architecture> architecture_of(int capability_major, int capability_minor) {
  for (const ArchitectureFacts& facts : kArchitectures)
    if (facts.capability_major == capability_major && facts.capability_minor == capability_minor)
      return facts.architecture;
  return {};
}

Architecture parse_architecture(std::string_view text) {
  const std::string_view digits = text.starts_with("sm_") ? text.substr(3) : text;
  for (const ArchitectureFacts& facts : kArchitectures) {
    const std::string plain = fmt::format("{}{}", facts.capability_major, facts.capability_minor);
    const std::string dotted = fmt::format("{}.{}", facts.capability_major, facts.capability_minor);
    for (const std::string& spelling : {plain, dotted, plain + "a", dotted + "a"})
      if (digits == spelling && (facts.name.ends_with('a') || !spelling.ends_with('a')))
        return facts.architecture;
  }
  std::vector<std::string_view> names;
  for (const ArchitectureFacts& facts : kArchitectures) names.push_back(facts.name);
  fail(ErrorKind::kInvalidArgument, "architecture '{}': expected one of {}", text, fmt::join(names, ", "));
}

}  // namespace strobe::cuda
