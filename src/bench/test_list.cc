#include "bench/test_list.h"

#include <algorithm>
#include <cctype>

#include "core/message.h"

namespace strobe::bench {
namespace {

// Reads a word up to the blank after it.
std::string take_word(std::string_view& line) {
  std::string word;
  char quote = 0;
  std::size_t i = 0;
  for (; i < line.size() && (quote != 0 || !std::isspace(static_cast<unsigned char>(line[i]))); ++i) {
    const char c = line[i];
    if (c == '\\' && quote != '\'' && i + 1 < line.size())
      word += line[++i];
    else if (quote != 0 && c == quote)
      quote = 0;
    else if (quote == 0 && (c == '\'' || c == '"'))
      quote = c;
    else
      word += c;
  }
  if (quote != 0) fail(ErrorKind::kInvalidArgument, "the quote {} has no end", quote);
  line.remove_prefix(i);
  return word;
}

void drop_command(std::vector<std::string>& words) {
  const auto first_flag =
      std::find_if(words.begin(), words.end(), [](const std::string& word) { return word.starts_with("-"); });
  const std::vector<std::string> command(words.begin(), first_flag);
  const bool ours = command == std::vector<std::string>{"strobe", "bench"};
  const bool theirs = command.size() == 2 && command[0].starts_with("python") &&
                      command[1].ends_with("flashinfer_benchmark.py");
  if (ours || theirs) words.erase(words.begin(), first_flag);
}

}  // namespace

std::vector<std::string> split_words(std::string_view line) {
  std::vector<std::string> words;
  for (;;) {
    while (!line.empty() && std::isspace(static_cast<unsigned char>(line.front()))) line.remove_prefix(1);
    if (line.empty() || line.front() == '#') return words;
    words.push_back(take_word(line));
  }
}

std::vector<TestLine> parse_test_list(std::string_view text) {
  std::vector<TestLine> lines;
  for (int number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    try {
      std::vector<std::string> words = split_words(line);
      drop_command(words);
      if (!words.empty()) lines.push_back({number, std::move(words)});
    } catch (const Error& error) {
      lines.push_back({number, {}, error.what()});
    }
  }
  return lines;
}

}  // namespace strobe::bench
