// The long sweep: every routine of every operator on hundreds of randomly drawn small shapes, dtypes, layouts
// and options, at every instruction-set level, against the FP64 reference. A new operator takes part without
// being named here.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "op/random.h"
#include "op/routine.h"
#include "strobe/operators.h"
#include "support/sweep.h"

namespace strobe {
namespace {

using Choices = std::vector<std::string>;

Choices range(int low, int high, int step = 1) {
  Choices choices;
  for (int i = low; i <= high; i += step) choices.push_back(std::to_string(i));
  return choices;
}

// What is drawn for a parameter of that name. The others keep their defaults, but for those of draw().
const std::map<std::string_view, Choices>& choices() {
  static const std::map<std::string_view, Choices> table = {
      {"num_tokens", range(1, 40)},
      {"nnz", range(1, 40)},
      {"hidden", range(1, 600)},
      {"batch_size", range(1, 7)},
      {"qo_len", range(1, 40)},
      {"kv_len", range(16, 300)},
      {"lengths", {"same", "random", "skewed"}},
      {"num_prefill", {"0", "1"}},
      {"num_kv_heads", {"1", "2", "3"}},
      {"num_heads", range(1, 9)},
      {"num_states", range(0, 6)},
      {"head_dim", {"8", "16", "40", "64", "128", "256"}},
      {"head_dim_qk", {"8", "40", "64", "80", "128", "192", "256", "512"}},
      {"head_dim_vo", {"8", "40", "64", "80", "128", "256", "512"}},
      {"ckv_dim", {"8", "64", "512"}},
      {"kpe_dim", {"8", "24", "64"}},
      {"page_size", {"1", "2", "3", "16", "17", "64"}},
      {"num_kv_indices", range(40, 60)},
      {"num_pages", range(60, 80)},
      {"num_elements", range(1, 2000)},
      {"segment_length", range(1, 200)},
      {"max_position", range(100, 200)},
      {"rotary_dim", {"2", "4", "8"}},
      {"kv_layout", {"NHD", "HND"}},
      {"bitorder", {"big", "little"}},
      {"kv_dtype", {"", "e4m3", "e5m2"}},
      {"out_dtype", {"e4m3", "e5m2"}},
      {"k_cache_dtype", {"e4m3", "e5m2"}},
      {"ckv_cache_dtype", {"e4m3", "e5m2"}},
      {"pos_ids_dtype", {"i32", "i64"}},
      {"positions_dtype", {"i32", "i64"}},
      {"scale", {"1", "0.3"}},
      {"num_rows", range(7, 9)},
      {"vocab_size", range(1, 3000)},
      {"max_len", range(1, 3000)},
      {"top_k", {"0", "0", "1", "7", "100"}},
      {"top_p", {"1", "1", "0.9", "0.3", "0"}},
      {"min_p", {"0", "0", "0.1"}},
      {"temperature", {"1", "0.6", "3", "0"}},
      {"seed", range(0, 1000)},
      {"joint", {"true", "false"}},
      {"window_left", {"-1", "-1", "0", "7", "100"}},
      {"logits_soft_cap", {"0", "0", "5"}},
      {"pos_encoding", {"none", "none", "rope", "alibi"}},
      {"causal", {"true", "false"}},
      {"sinks", {"true", "false"}},
      {"return_lse", {"true", "false"}},
      {"deterministic", {"true", "false"}},
      {"gemma", {"true", "false"}},
      {"interleave", {"true", "false"}},
      {"llama31", {"true", "false"}},
  };
  return table;
}

std::string pick(const Choices& from, op::Random& random) {
  return from[static_cast<std::size_t>(random.integer(0, static_cast<std::int64_t>(from.size()) - 1))];
}

// Inputs of 16 and 32 bits, or 0/1 where the routine's default says so.
std::string draw_dtype(const op::Parameter& parameter, op::Random& random) {
  return parameter.default_value == "bool" ? pick({"bool", "u8"}, random)
                                           : pick({"f32", "f16", "bf16"}, random);
}

// Query heads follow the KV heads. Where the k largest are taken, k follows the vocabulary, and pages have
// powers of two.
test::Values draw(const op::Routine& routine, op::Random& random) {
  const auto has = [&](std::string_view name) {
    return std::ranges::count(routine.parameters, name, &op::Parameter::name) > 0;
  };
  test::Values values;
  std::int64_t num_kv_heads = 1, most_k = 3000;
  for (const op::Parameter& parameter : routine.parameters) {
    if (parameter.name == "dtype") values.emplace_back(parameter.name, draw_dtype(parameter, random));
    const auto found = choices().find(parameter.name);
    if (found == choices().end()) continue;
    const bool power = parameter.name == "page_size" && has("k");
    values.emplace_back(parameter.name, pick(power ? Choices{"1", "2", "16", "64"} : found->second, random));
    if (parameter.name == "num_kv_heads") num_kv_heads = std::stoll(values.back().second);
    if (parameter.name == "vocab_size") most_k = std::stoll(values.back().second);
  }
  for (const op::Parameter& parameter : routine.parameters) {
    if (parameter.name == "num_qo_heads")
      values.emplace_back(parameter.name, std::to_string(num_kv_heads * random.integer(1, 9)));
    if (parameter.name == "k") values.emplace_back(parameter.name, std::to_string(random.integer(1, most_k)));
  }
  return values;
}

class RandomSweepSlow : public testing::TestWithParam<std::string> {};

TEST_P(RandomSweepSlow, MatchesTheReference) {
  constexpr int kCases = 300;
  const op::NamedRoutine routine = op::find_routine(GetParam());
  op::Random random(2026);
  for (int i = 0; i < kCases && !HasFailure(); ++i)
    test::expect_matches_reference(GetParam(), draw(routine.routine, random), random.next());
}

INSTANTIATE_TEST_SUITE_P(EveryRoutine, RandomSweepSlow, testing::ValuesIn(routine_names()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace strobe
