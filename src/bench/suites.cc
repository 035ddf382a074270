#include "bench/suites.h"

#include "core/message.h"

namespace strobe::bench {

std::vector<std::string_view> suite_names() {
  std::vector<std::string_view> names;
  for (const SuiteText& suite : suite_texts()) names.push_back(suite.name);
  return names;
}

std::vector<BenchCase> suite_cases(std::string_view name) {
  for (const SuiteText& suite : suite_texts())
    if (suite.name == name) return parse_suite(fmt::format("suite {}", name), suite.json).cases;
  if (name.ends_with(".json") || name.find('/') != name.npos) return read_suite(std::string(name)).cases;
  fail(ErrorKind::kInvalidArgument, "unknown suite '{}'; known: {} (a file's name ends with .json)", name,
       fmt::join(suite_names(), ", "));
}

}  // namespace strobe::bench
