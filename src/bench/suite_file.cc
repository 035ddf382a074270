#include "bench/suite_file.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>

#include "bench/suites.h"
#include "core/message.h"

namespace strobe::bench {
namespace {

using Json = nlohmann::ordered_json;

// Reads a text and counts its lines, for the parser, which tells nobody where a value stood.
class LineCounter {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  LineCounter(const char* at, int* line) : at_(at), line_(line) {}
  reference operator*() const { return *at_; }
  LineCounter& operator++() {
    if (*at_++ == '\n') ++*line_;
    return *this;
  }
  LineCounter operator++(int) {
    LineCounter before = *this;
    ++*this;
    return before;
  }
  bool operator==(const LineCounter& other) const { return at_ == other.at_; }
  bool operator!=(const LineCounter& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  int* line_;
};

constexpr int kCaseDepth = 2;  // of the objects in {"cases": [...]}

struct ParsedText {
  Json json;
  std::vector<int> case_lines;  // where each case begins
};

ParsedText parse_text(std::string_view file, std::string_view text) {
  ParsedText result;
  int line = 1;
  std::vector<std::set<std::string>> open_objects;
  const auto watch = [&](int depth, Json::parse_event_t event, const Json& parsed) {
    if (event == Json::parse_event_t::object_start) {
      open_objects.emplace_back();
      if (depth == kCaseDepth) result.case_lines.push_back(line);
    } else if (event == Json::parse_event_t::object_end) {
      open_objects.pop_back();
    } else if (event == Json::parse_event_t::key && !open_objects.back().insert(parsed).second) {
      fail(ErrorKind::kInvalidArgument, "{}, line {}: key {} is given twice", file, line, parsed.dump());
    }
    return true;
  };
  try {
    result.json =
        Json::parse(LineCounter(text.data(), &line), LineCounter(text.data() + text.size(), &line), watch);
  } catch (const Json::parse_error& error) {
    const std::string_view what =
        error.what();  // "[json.exception.parse_error.101] parse error at line 1, …"
    fail(ErrorKind::kInvalidArgument, "{}: {}", file, what.substr(what.find("] ") + 2));
  }
  return result;
}

std::string text_of(std::string_view key, const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean() || value.is_number()) return value.dump();
  fail(ErrorKind::kInvalidArgument, "{}: expected a number, a text, true, false or a list of these, got {}",
       key, value.dump());
}

std::string string_at(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) fail(ErrorKind::kInvalidArgument, "key '{}' is missing", key);
  if (!found->is_string())
    fail(ErrorKind::kInvalidArgument, "{}: expected a text, got {}", key, found->dump());
  return found->get<std::string>();
}

// What an entry's keys give each case: one value, or one after another.
struct Choices {
  std::string key;
  std::vector<std::string> values;
};

Choices choices_of(const std::string& key, const Json& value) {
  Choices choices{key, {}};
  if (!value.is_array()) return {key, {text_of(key, value)}};
  for (const Json& item : value) choices.values.push_back(text_of(key, item));
  if (choices.values.empty())
    fail(ErrorKind::kInvalidArgument, "{}: expected values, got an empty list", key);
  return choices;
}

// Every combination of the lists, the last list changing fastest.
std::vector<std::vector<Flag>> combinations(const std::vector<Choices>& lists) {
  std::vector<std::vector<Flag>> result(1);
  for (const Choices& list : lists) {
    std::vector<std::vector<Flag>> longer;
    for (const std::vector<Flag>& flags : result)
      for (const std::string& value : list.values) {
        longer.push_back(flags);
        longer.back().emplace_back(list.key, value);
      }
    result = std::move(longer);
  }
  return result;
}

int parse_num_iters(const Json& value) {
  constexpr int kMost = 1000000;
  if (!value.is_number_integer() || value < 1 || value > kMost)
    fail(ErrorKind::kInvalidArgument, "num_iters: expected an integer in [1, {}], got {}", kMost,
         value.dump());
  return value.get<int>();
}

void add_cases(const Json& entry, const std::string& origin, std::vector<BenchCase>& cases) {
  if (!entry.is_object())
    fail(ErrorKind::kInvalidArgument, "expected an object with a routine and its parameters, got {}",
         entry.dump());
  const std::string routine = string_at(entry, "routine");
  std::optional<int> num_iters;
  std::vector<Choices> lists;
  for (const auto& [key, value] : entry.items()) {
    if (key == "routine" || key == "note") continue;
    if (key == "num_iters")
      num_iters = parse_num_iters(value);
    else
      lists.push_back(choices_of(key, value));
  }
  for (const std::vector<Flag>& flags : combinations(lists)) {
    cases.push_back(make_case(routine, flags));
    cases.back().num_iters = num_iters;
    cases.back().origin = origin;
  }
}

void add_entries(std::string_view file, const ParsedText& parsed, const Json& entries,
                 std::vector<BenchCase>& cases) {
  for (std::size_t i = 0; i < entries.size(); ++i) {
    // An entry that is no object has no line of its own.
    const bool has_line = entries[i].is_object() && parsed.case_lines.size() == entries.size();
    const std::string origin = has_line
                                   ? fmt::format("{}, line {} (entry {})", file, parsed.case_lines[i], i + 1)
                                   : fmt::format("{}, entry {}", file, i + 1);
    try {
      add_cases(entries[i], origin, cases);
    } catch (const Error& error) {
      fail(error.kind(), "{}: {}", origin, error.what());
    }
  }
}

const Json& list_at(const Json& object, const std::string& key) {
  if (!object.at(key).is_array())
    fail(ErrorKind::kInvalidArgument, "{}: expected a list, got {}", key, object.at(key).dump());
  return object.at(key);
}

}  // namespace

Suite parse_suite(std::string_view file, std::string_view text) {
  const ParsedText parsed = parse_text(file, text);
  Suite suite;
  try {
    if (!parsed.json.is_object())
      fail(ErrorKind::kInvalidArgument, "expected an object with name, description and cases");
    suite.name = string_at(parsed.json, "name");
    suite.description = string_at(parsed.json, "description");
    for (const auto& [key, value] : parsed.json.items())
      if (key != "name" && key != "description" && key != "note" && key != "include" && key != "cases")
        fail(ErrorKind::kInvalidArgument,
             "unknown key '{}'; a suite has name, description, note, include, cases", key);
    if (parsed.json.contains("include"))
      for (const Json& name : list_at(parsed.json, "include"))
        for (BenchCase& bench_case : suite_cases(text_of("include", name)))
          suite.cases.push_back(std::move(bench_case));
    if (parsed.json.contains("cases")) list_at(parsed.json, "cases");
  } catch (const Error& error) {
    fail(error.kind(), "{}: {}", file, error.what());
  }
  if (parsed.json.contains("cases")) add_entries(file, parsed, parsed.json["cases"], suite.cases);
  if (suite.cases.empty()) fail(ErrorKind::kInvalidArgument, "{}: the suite has no cases", file);
  return suite;
}

Suite read_suite(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored))
    fail(ErrorKind::kIo, "{}: cannot be read: it is a directory", path);
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file) fail(ErrorKind::kIo, "{}: cannot be read: {}", path, std::strerror(errno));
  return parse_suite(path, text);
}

}  // namespace strobe::bench
