#include "bench/case_line.h"

#include <algorithm>
#include <sstream>

#include "core/message.h"

namespace strobe::bench {
namespace {

std::vector<std::string> words_of(std::string_view line) {
  std::istringstream stream{std::string(line.substr(0, line.find('#')))};
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(std::move(word));
  return words;
}

BenchCase parse_line(std::vector<std::string> words) {
  std::optional<int> num_iters;
  const auto flag = std::find(words.begin(), words.end(), "--num_iters");
  if (flag != words.end()) {
    op::Case own(std::vector<op::Parameter>{{"num_iters", flag + 1 == words.end() ? "" : *(flag + 1), ""}});
    num_iters = static_cast<int>(own.integer("num_iters", 1));
    words.erase(flag, flag + 2);
  }
  BenchCase result = parse_case(words.front(), std::span(words).subspan(1));
  result.num_iters = num_iters;
  return result;
}

}  // namespace

op::Case parse_flags(std::string_view what, const std::vector<op::Parameter>& parameters,
                     std::span<const std::string> words) {
  op::Case values(parameters);
  std::vector<std::string> seen;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (!word.starts_with("--"))
      fail(ErrorKind::kInvalidArgument, "{}: expected a flag (--name value), got '{}'", what, word);
    const std::size_t equals = word.find('=');
    const std::string name = word.substr(2, equals == std::string::npos ? equals : equals - 2);
    std::string value = "true";
    if (equals != std::string::npos)
      value = word.substr(equals + 1);
    else if (i + 1 < words.size() && !words[i + 1].starts_with("--"))
      value = words[++i];
    if (std::find(seen.begin(), seen.end(), name) != seen.end())
      fail(ErrorKind::kInvalidArgument, "{}: --{} is given twice", what, name);
    seen.push_back(name);
    try {
      values.set(name, std::move(value));
    } catch (const Error& error) {
      fail(error.kind(), "{}: {}", what, error.what());
    }
  }
  return values;
}

BenchCase parse_case(std::string_view routine_name, std::span<const std::string> words) {
  BenchCase result{op::find_routine(routine_name), {}, joined(words), {}};
  result.values = parse_flags(routine_name, result.routine.routine.parameters, words);
  return result;
}

std::string joined(std::span<const std::string> words) { return fmt::format("{}", fmt::join(words, " ")); }

std::vector<BenchCase> parse_suite(std::string_view name, std::string_view text) {
  std::vector<BenchCase> cases;
  for (int line = 1; !text.empty(); ++line) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::vector<std::string> words = words_of(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (words.empty()) continue;
    try {
      cases.push_back(parse_line(std::move(words)));
    } catch (const Error& error) {
      fail(error.kind(), "suite {}, line {}: {}", name, line, error.what());
    }
  }
  return cases;
}

}  // namespace strobe::bench
