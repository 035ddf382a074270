#include "jit/inline_headers.h"

#include <algorithm>
#include <set>

#include "core/message.h"
#include "jit/embedded_headers.h"

namespace strobe::jit {
namespace {

// The embedded header that a line includes; null where it includes none.
const Header* included(std::string_view line) {
  constexpr std::string_view kInclude = "#include \"";
  if (!line.starts_with(kInclude)) return nullptr;
  const std::string_view name =
      line.substr(kInclude.size(), line.find('"', kInclude.size()) - kInclude.size());
  const auto headers = embedded_headers();
  const auto found =
      std::find_if(headers.begin(), headers.end(), [&](const Header& header) { return header.name == name; });
  return found == headers.end() ? nullptr : &*found;
}

void append(std::string_view source, std::string_view name, std::set<std::string_view>& seen,
            std::string& text) {
  for (int number = 1; !source.empty(); ++number) {
    const std::size_t end = std::min(source.find('\n'), source.size());
    const std::string_view line = source.substr(0, end);
    source.remove_prefix(std::min(end + 1, source.size()));
    if (const Header* header = included(line)) {
      if (seen.insert(header->name).second) {
        text += fmt::format("#line 1 \"{}\"\n", header->name);
        append(header->text, header->name, seen, text);
      }
      text += fmt::format("#line {} \"{}\"\n", number + 1, name);
    } else if (line != "#pragma once") {
      text += fmt::format("{}\n", line);
    } else {
      text += '\n';
    }
  }
}

}  // namespace

std::string inline_headers(std::string_view source, std::string_view name) {
  std::set<std::string_view> seen;
  std::string text;
  append(source, name, seen, text);
  return text;
}

}  // namespace strobe::jit
