#include "front_end.h"

#include <algorithm>
#include <cctype>
#include <regex>
#include <set>

#include "../device/machine.h"

namespace emulated {
namespace {

std::vector<std::string> included_names(const std::string& text) {
  static const std::regex kInclude("(?:^|\n)[ ]*#[ ]*include[ ]*\"([^\"]+)\"");
  std::vector<std::string> names;
  for (std::sregex_iterator match(text.begin(), text.end(), kInclude), end; match != end; ++match)
    names.push_back((*match)[1]);
  return names;
}

void add_texts(const std::string& text, const Headers& headers, bool (*is_replaced)(const std::string&),
               std::set<std::string>& seen, std::vector<std::string>& texts) {
  texts.push_back(text);
  for (const std::string& name : included_names(text))
    if (const auto header = headers.find(name);
        header != headers.end() && !is_replaced(name) && seen.insert(name).second)
      add_texts(header->second, headers, is_replaced, seen, texts);
}

// The end of the parenthesis that opens at `open`.
std::size_t closing(const std::string& text, std::size_t open) {
  int depth = 0;
  for (std::size_t i = open; i < text.size(); ++i) {
    if (text[i] == '(') ++depth;
    if (text[i] == ')' && --depth == 0) return i;
  }
  return text.size();
}

// The declaration that follows __global__ at `place`.
Kernel kernel_at(const std::string& text, std::size_t place) {
  Kernel kernel;
  while (place < text.size()) {
    while (place < text.size() && std::isspace(static_cast<unsigned char>(text[place]))) ++place;
    std::size_t end = place;
    while (end < text.size() && (std::isalnum(static_cast<unsigned char>(text[end])) || text[end] == '_'))
      ++end;
    const std::string word = text.substr(place, end - place);
    if (word.empty()) return {};
    place = end;
    if (word == "void") continue;
    if (word != "__launch_bounds__") {
      kernel.name = word;
      return kernel;
    }
    const std::size_t open = text.find('(', place), close = closing(text, open);
    kernel.bounds = text.substr(open + 1, close - open - 1);
    place = close + 1;
  }
  return {};
}

}  // namespace

std::vector<std::string> texts_of(const std::string& source, const Headers& headers,
                                  bool (*is_replaced)(const std::string&)) {
  std::set<std::string> seen;
  std::vector<std::string> texts;
  add_texts(source, headers, is_replaced, seen, texts);
  return texts;
}

std::vector<std::string> ptx_headers_of(const std::vector<std::string>& texts) {
  std::set<std::string> found;
  for (const std::string& text : texts)
    for (const std::string& name : included_names(text))
      if (name.starts_with("ptx/")) found.insert(name);
  return {found.begin(), found.end()};
}

std::vector<Kernel> kernels_of(const std::vector<std::string>& texts) {
  const std::string kMark = "extern \"C\" __global__";
  std::vector<Kernel> kernels;
  for (const std::string& text : texts)
    for (std::size_t at = text.find(kMark); at != std::string::npos; at = text.find(kMark, at + 1))
      if (Kernel kernel = kernel_at(text, at + kMark.size()); !kernel.name.empty()) kernels.push_back(kernel);
  return kernels;
}

int shared_alignment_of(const std::vector<std::string>& texts) {
  static const std::regex kDeclaration("extern\\s+__shared__\\s+(?:alignas|__align__)\\((\\d+)\\)");
  int alignment = 16;  // what a kernel may count on without more
  for (const std::string& text : texts)
    if (std::smatch match; std::regex_search(text, match, kDeclaration))
      alignment = std::max(alignment, std::stoi(match[1]));
  return alignment;
}

std::string with_dynamic_shared(const std::string& text) {
  static const std::regex kDeclaration(
      "extern\\s+__shared__\\s+(?:(?:alignas|__align__)\\([^)]*\\)\\s*)?([\\w:<>, "
      "]+?)\\s+(\\w+)\\s*\\[\\s*\\]\\s*;");
  return std::regex_replace(text, kDeclaration,
                            "$1 (&$2)[] = *reinterpret_cast<$1 (*)[]>(::emulated::dynamic_shared());");
}

std::string module_text(const std::vector<Kernel>& kernels, int capability, int shared_alignment) {
  std::string text = "\nnamespace emulated {\nconstexpr Entry kEntries[] = {\n";
  for (const Kernel& kernel : kernels)
    text += "  {\"" + kernel.name + "\", sizeof(decltype(params_of(::" + kernel.name + "))), most_threads(" +
            kernel.bounds + "), call<::" + kernel.name + ">},\n";
  text += "};\n}\nextern \"C\" __attribute__((visibility(\"default\"))) const emulated::Module " +
          std::string(kModuleSymbol) + " = {&emulated::machine, emulated::kEntries, " +
          std::to_string(kernels.size()) + ", " + std::to_string(capability) + ", " +
          std::to_string(shared_alignment) + "};\n";
  return text;
}

}  // namespace emulated
