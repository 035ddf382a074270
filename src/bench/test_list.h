// Files of command lines, one case a line.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace strobe::bench {

struct TestLine {
  int number = 0;  // in the file, from 1
  std::vector<std::string> words;
  std::string error = {};  // why it has no words
};

// Words as a shell splits them: '…' and "…" hold blanks, \ takes the next character as it is, and # at the
// start of a word begins a comment. Throws Error(kInvalidArgument) for a quote without an end.
std::vector<std::string> split_words(std::string_view line);

// The lines that hold something, without the command they may begin with ("strobe bench", "python3
// …/flashinfer_benchmark.py").
std::vector<TestLine> parse_test_list(std::string_view text);

}  // namespace strobe::bench
