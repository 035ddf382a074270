#include "bench/workload/csv.h"

#include <algorithm>
#include <utility>

#include "core/message.h"

namespace strobe::bench {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr std::string_view kBlanks = " \t";
constexpr std::size_t kShownBytes = 40;

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

}  // namespace

CsvReader::CsvReader(std::string path, std::string_view text) : path_(std::move(path)), rest_(text) {
  if (rest_.starts_with(kByteOrderMark)) rest_.remove_prefix(kByteOrderMark.size());
}

bool CsvReader::next() {
  while (!rest_.empty()) {
    const std::string_view line = take_line();
    if (!trim(line).empty()) {
      split(line);
      return true;
    }
    if (rest_.find_first_not_of(" \t\r\n") != std::string_view::npos) {
      fail(0, "", "a line with fields", "an empty line");
    }
  }
  return false;
}

std::string_view CsvReader::take_line() {
  const auto end = rest_.find('\n');
  std::string_view line = rest_.substr(0, end);
  rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
  ++line_;
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

void CsvReader::split(std::string_view line) {
  fields_.clear();
  for (;;) {
    fields_.emplace_back();
    const auto start = std::min(line.find_first_not_of(kBlanks), line.size());
    if (line.substr(start).starts_with('"')) {
      line = take_quoted(line.substr(start + 1), fields_.back());
    } else {
      const auto end = std::min(line.find(','), line.size());
      fields_.back() = trim(line.substr(0, end));
      line.remove_prefix(end);
    }
    if (line.empty()) return;
    line.remove_prefix(1);  // the comma
  }
}

std::string_view CsvReader::take_quoted(std::string_view rest, std::string& field) const {
  const int column = static_cast<int>(fields_.size()) - 1;
  for (;;) {
    const auto quote = rest.find('"');
    if (quote == std::string_view::npos) fail(column, "", "a closing quote", "the end of the line");
    field += rest.substr(0, quote);
    rest.remove_prefix(quote + 1);
    if (!rest.starts_with('"')) break;
    field += '"';
    rest.remove_prefix(1);
  }
  rest.remove_prefix(std::min(rest.find_first_not_of(kBlanks), rest.size()));
  if (!rest.empty() && rest.front() != ',') fail(column, "", "a comma after the closing quote", quoted(rest));
  return rest;
}

void CsvReader::fail(int column, std::string_view name, std::string_view expected,
                     std::string_view found) const {
  strobe::fail(ErrorKind::kIo, "{}, line {}, column {}{}: expected {}, found {}", path_, std::max(line_, 1),
               column + 1, name.empty() ? std::string() : fmt::format(" ({})", name), expected, found);
}

std::string quoted(std::string_view text) {
  std::string result = "\"";
  for (const unsigned char byte : text.substr(0, kShownBytes)) {
    if (byte < 0x20 || byte >= 0x7f) {
      result += fmt::format("\\x{:02x}", byte);
    } else {
      result += static_cast<char>(byte);
    }
  }
  return result + (text.size() > kShownBytes ? "…\"" : "\"");
}

}  // namespace strobe::bench
