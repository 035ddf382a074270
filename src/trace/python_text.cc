#include "trace/python_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <vector>

namespace strobe::trace {
namespace {

bool is_word(char letter) { return std::isalnum(static_cast<unsigned char>(letter)) != 0 || letter == '_'; }

// Walks through Python text, over comments and texts, and knows which brackets are open.
class PythonScanner {
 public:
  explicit PythonScanner(std::string_view text) : text_(text) {}

  // The next place that is code, or the end. `problem` says what stopped it before.
  bool next(std::string& problem) {
    if (at_ >= text_.size()) return end(problem);
    while (at_ < text_.size() && (text_[at_] == '#' || text_[at_] == '"' || text_[at_] == '\'')) {
      if (text_[at_] == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (!skip_text(problem)) {
        return false;
      }
    }
    if (at_ >= text_.size()) return end(problem);
    return track_bracket(problem);
  }
  void advance() {
    if (text_[at_] == '\n') ++line_;
    ++at_;
  }
  std::size_t at() const { return at_; }
  bool in_brackets() const { return !brackets_.empty(); }

 private:
  struct Bracket {
    char closing;
    int line;
  };

  bool end(std::string& problem) const {
    if (in_brackets()) problem = fmt::format("line {}: a bracket is not closed", brackets_.back().line);
    return false;
  }

  bool skip_text(std::string& problem) {
    const int first_line = line_;
    const char quote = text_[at_];
    const std::string three(3, quote);
    const bool is_long = text_.substr(at_).starts_with(three);
    at_ += is_long ? 3 : 1;
    while (at_ < text_.size()) {
      if (is_long ? text_.substr(at_).starts_with(three) : text_[at_] == quote) {
        at_ += is_long ? 3 : 1;
        return true;
      }
      if (text_[at_] == '\n' && !is_long) break;
      if (text_[at_] == '\\' && at_ + 1 < text_.size()) advance();
      advance();
    }
    problem = fmt::format("line {}: a text does not end", first_line);
    return false;
  }

  bool track_bracket(std::string& problem) {
    constexpr std::string_view kOpening = "([{", kClosing = ")]}";
    const char letter = text_[at_];
    if (const std::size_t kind = kOpening.find(letter); kind != std::string_view::npos)
      brackets_.push_back({kClosing[kind], line_});
    if (kClosing.find(letter) == std::string_view::npos) return true;
    if (brackets_.empty() || brackets_.back().closing != letter) {
      problem = fmt::format("line {}: '{}' closes nothing", line_, letter);
      return false;
    }
    brackets_.pop_back();
    return true;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  int line_ = 1;
  std::vector<Bracket> brackets_;
};

// Whether "def name(" stands at the beginning of `text`, with any blanks between.
bool begins_function(std::string_view text, std::string_view name) {
  const auto skip_blanks = [&text] {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  };
  if (!text.starts_with("def") || text.size() < 4 || is_word(text[3])) return false;
  text.remove_prefix(3);
  skip_blanks();
  if (!text.starts_with(name)) return false;
  text.remove_prefix(name.size());
  skip_blanks();
  return text.starts_with('(');
}

}  // namespace

std::string python_problem(std::string_view text) {
  PythonScanner scanner(text);
  std::string problem;
  while (scanner.next(problem)) scanner.advance();
  return problem;
}

bool defines_function(std::string_view text, std::string_view name) {
  PythonScanner scanner(text);
  std::string problem;
  while (scanner.next(problem)) {
    const std::size_t at = scanner.at();
    const bool begins_line = at == 0 || text[at - 1] == '\n';
    if (begins_line && !scanner.in_brackets() && begins_function(text.substr(at), name)) return true;
    scanner.advance();
  }
  return false;
}

}  // namespace strobe::trace
