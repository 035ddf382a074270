#include "bench/suites.h"

#include "core/message.h"

namespace strobe::bench {
namespace {

constexpr std::string_view kQuick = R"(
rmsnorm --num_tokens 16
rmsnorm --num_tokens 4096
)";

// Llama 3.1 8B: hidden 4096, intermediate 14336, 32 query and 8 KV heads of 128.
constexpr std::string_view kLlama8b = R"(
rmsnorm --num_tokens 1
rmsnorm --num_tokens 64
rmsnorm --num_tokens 4096
)";

constexpr Suite kSuites[] = {
    {"quick", "a few seconds: one case or two of each operator", kQuick},
    {"llama-3.1-8b", "every operator of a layer of Llama 3.1 8B, from single tokens to long prefills",
     kLlama8b},
};

}  // namespace

std::span<const Suite> suites() { return kSuites; }

std::vector<std::string_view> suite_names() {
  std::vector<std::string_view> names;
  for (const Suite& suite : kSuites) names.push_back(suite.name);
  return names;
}

std::vector<BenchCase> suite_cases(std::string_view name) {
  for (const Suite& suite : kSuites)
    if (suite.name == name) return parse_suite(name, suite.lines);
  fail(ErrorKind::kInvalidArgument, "unknown suite '{}'; known: {}", name, fmt::join(suite_names(), ", "));
}

}  // namespace strobe::bench
