// Command lines of FlashInfer's benchmark as cases of this one.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/case_line.h"

namespace strobe::bench::flashinfer {

struct Translation {
  BenchCase bench_case;            // with the line it came from in `flashinfer`
  std::vector<std::string> notes;  // given flags that change nothing here, and why
};

// Nothing when the line is Strobe's own: another routine, or one that both have under one name, with Strobe's
// flags. A line of FlashInfer's may also have the other flags of Strobe's routine (--window_left, …).
// Throws Error(kUnsupported) for a routine of FlashInfer's that Strobe has not, saying so, and
// Error(kInvalidArgument) for an unknown flag, a missing one, or a value that does not go.
std::optional<Translation> translate(std::string_view routine, std::span<const std::string> words);

// The names that `translate` takes, and those that it refuses.
std::vector<std::string_view> routines();
std::vector<std::string_view> missing_routines();

}  // namespace strobe::bench::flashinfer
