#include "trace/json_text.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/message.h"

namespace strobe::trace {
namespace {

constexpr std::array<std::string_view, 3> kTokens = {"NaN", "Infinity", "-Infinity"};

struct Quoted {
  std::string text;
  std::vector<std::size_t> quotes;  // where in `text` a quotation mark was added, in order

  std::size_t original(std::size_t at) const {
    return at - static_cast<std::size_t>(std::lower_bound(quotes.begin(), quotes.end(), at) - quotes.begin());
  }
};

std::string_view token_at(std::string_view text, std::size_t at) {
  for (const std::string_view token : kTokens) {
    const std::size_t end = at + token.size();
    const bool whole = end >= text.size() || (std::isalnum(static_cast<unsigned char>(text[end])) == 0 &&
                                              text[end] != '_' && text[end] != '.');
    if (whole && text.substr(at).starts_with(token)) return token;
  }
  return {};
}

// Puts tokens outside of texts between quotation marks.
Quoted quote_tokens(std::string_view text) {
  Quoted result;
  result.text.reserve(text.size() + 16);
  bool in_text = false;
  for (std::size_t at = 0; at < text.size();) {
    const char letter = text[at];
    if (letter == '"') in_text = !in_text;
    const std::string_view token = in_text || (letter != 'N' && letter != 'I' && letter != '-')
                                       ? std::string_view{}
                                       : token_at(text, at);
    if (!token.empty()) {
      result.quotes.push_back(result.text.size());
      result.text.append("\"").append(token);
      result.quotes.push_back(result.text.size());
      result.text += '"';
      at += token.size();
      continue;
    }
    const std::size_t count = in_text && letter == '\\' && at + 1 < text.size() ? 2 : 1;
    result.text.append(text.substr(at, count));
    at += count;
  }
  return result;
}

// What follows the place in nlohmann's message: "[…] parse error at line 1, column 2: what".
std::string_view reason_of(std::string_view message) {
  const std::size_t column = message.find("column ");
  const std::size_t colon = message.find(": ", column == std::string_view::npos ? 0 : column);
  return colon == std::string_view::npos ? message : message.substr(colon + 2);
}

}  // namespace

Json parse_json(std::string_view text, std::string_view file, int line) {
  const Quoted quoted = quote_tokens(text);
  try {
    return Json::parse(quoted.text);
  } catch (const Json::parse_error& error) {
    const std::size_t byte = std::min(quoted.original(error.byte > 0 ? error.byte - 1 : 0), text.size());
    const std::string_view before = text.substr(0, byte);
    const auto lines = std::count(before.begin(), before.end(), '\n');
    const std::size_t line_break = before.rfind('\n');
    const std::size_t column = byte - (line_break == std::string_view::npos ? 0 : line_break + 1) + 1;
    fail(ErrorKind::kIo, "{}:{}:{}: {}", file, line + lines, column, reason_of(error.what()));
  }
}

std::string one_line(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }
std::string indented(const Json& value) {
  return value.dump(2, ' ', false, Json::error_handler_t::replace) + '\n';
}

}  // namespace strobe::trace
