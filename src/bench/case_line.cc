#include "bench/case_line.h"

#include <algorithm>

#include "core/message.h"

namespace strobe::bench {

std::vector<Flag> split_flags(std::string_view what, std::span<const std::string> words) {
  std::vector<Flag> flags;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (!word.starts_with("--"))
      fail(ErrorKind::kInvalidArgument, "{}: expected a flag (--name value), got '{}'", what, word);
    const std::size_t equals = word.find('=');
    std::string name = word.substr(2, equals == std::string::npos ? equals : equals - 2);
    std::string value = "true";
    if (equals != std::string::npos)
      value = word.substr(equals + 1);
    else if (i + 1 < words.size() && !words[i + 1].starts_with("--"))
      value = words[++i];
    if (std::any_of(flags.begin(), flags.end(), [&](const Flag& flag) { return flag.first == name; }))
      fail(ErrorKind::kInvalidArgument, "{}: --{} is given twice", what, name);
    flags.emplace_back(std::move(name), std::move(value));
  }
  return flags;
}

op::Case case_values(std::string_view what, const std::vector<op::Parameter>& parameters,
                     std::span<const Flag> flags) {
  op::Case values(parameters);
  try {
    for (const auto& [name, value] : flags) values.set(name, value);
    for (const op::Parameter& parameter : parameters) op::check_value(parameter, values.text(parameter.name));
  } catch (const Error& error) {
    fail(error.kind(), "{}: {}", what, error.what());
  }
  return values;
}

BenchCase make_case(std::string_view routine_name, std::span<const Flag> flags) {
  BenchCase result{op::find_routine(routine_name), {}, {}, {}, {}};
  result.values = case_values(routine_name, result.routine.routine.parameters, flags);
  for (const auto& [name, value] : flags)
    result.flags += fmt::format("{}--{} {}", result.flags.empty() ? "" : " ", name, value);
  return result;
}

BenchCase parse_case(std::string_view routine_name, std::span<const std::string> words) {
  BenchCase result = make_case(routine_name, split_flags(routine_name, words));
  result.flags = joined(words);
  return result;
}

std::string joined(std::span<const std::string> words) { return fmt::format("{}", fmt::join(words, " ")); }

}  // namespace strobe::bench
