// Runs a declared routine at every ISA level of this machine and holds every output against the FP64
// reference.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "cpu/isa.h"
#include "op/check.h"
#include "op/routine.h"

namespace strobe::test {

inline std::vector<cpu::Isa> isa_levels() {
  std::vector<cpu::Isa> levels;
  for (int i = 0; i < cpu::kIsaCount; ++i)
    if (cpu::supported(static_cast<cpu::Isa>(i))) levels.push_back(static_cast<cpu::Isa>(i));
  return levels;
}

// Sets the level for a scope.
class ScopedIsa {
 public:
  explicit ScopedIsa(cpu::Isa isa) : before_(cpu::active_isa()) { cpu::set_active_isa(isa); }
  ~ScopedIsa() { cpu::set_active_isa(before_); }
  ScopedIsa(const ScopedIsa&) = delete;
  ScopedIsa& operator=(const ScopedIsa&) = delete;

 private:
  cpu::Isa before_;
};

using Values = std::vector<std::pair<std::string_view, std::string>>;

// Calls f(problem, random, label) at every level, with the routine's problem for the given parameters on
// fresh random data.
template <class F>
void for_each_problem(std::string_view routine_name, const Values& values, std::uint64_t seed, F f) {
  const op::NamedRoutine routine = op::find_routine(routine_name);
  op::Case parameters(routine.routine.parameters);
  std::string label(routine_name);
  for (const auto& [name, value] : values) {
    parameters.set(name, value);
    label += " --" + std::string(name) + " " + value;
  }
  for (cpu::Isa isa : isa_levels()) {
    const ScopedIsa scoped(isa);
    op::Random random(seed);
    op::Problem problem = routine.routine.make(*routine.op, parameters, random);
    f(problem, random, label + " at " + std::string(cpu::name(isa)));
  }
}

// Plans and runs a problem and checks every row.
inline void expect_run_matches_reference(op::Problem& problem, op::Random& random, const std::string& label) {
  if (problem.plan) problem.plan();
  const op::Expected expected = op::expect(*problem.op, problem.args.get(), problem.axes, 1 << 20, random);
  problem.run();
  const op::CheckResult result = op::compare(*problem.op, problem.args.get(), problem.axes, expected);
  EXPECT_TRUE(result.passed) << label << ": " << result.worst;
  EXPECT_GT(result.elements, 0) << label;
}

inline void expect_matches_reference(std::string_view routine_name, const Values& values,
                                     std::uint64_t seed = 1) {
  for_each_problem(routine_name, values, seed, expect_run_matches_reference);
}

// The message of the Error that `f` throws; fails the test when it throws none.
template <class F>
std::string error_message(F f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "expected an Error";
  return "";
}

}  // namespace strobe::test
