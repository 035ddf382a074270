// Comma-separated values with line numbers.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace strobe::bench {

// Walks over the lines of a CSV text. Fields may be quoted ("" is a quote within quotes; a quoted field ends
// on its own line); blanks around unquoted fields are dropped; lines end in \n or \r\n; a UTF-8 byte-order
// mark is skipped.
class CsvReader {
 public:
  // `path` is for messages only; `text` must outlive the reader.
  CsvReader(std::string path, std::string_view text);

  // Reads the next line into `fields()`; false at the end. Empty lines are allowed only at the end of the
  // text.
  bool next();
  const std::vector<std::string>& fields() const { return fields_; }

  // Throws Error(kIo): "file, line 3, column 2 (name): expected …, found …". `column` counts from 0, the
  // message from 1.
  [[noreturn]] void fail(int column, std::string_view name, std::string_view expected,
                         std::string_view found) const;

 private:
  std::string_view take_line();
  void split(std::string_view line);
  std::string_view take_quoted(std::string_view rest, std::string& field) const;

  std::string path_;
  std::string_view rest_;
  int line_ = 0;
  std::vector<std::string> fields_;
};

// `text` between quotes, shortened, with bytes that do not print shown as \xNN.
std::string quoted(std::string_view text);

}  // namespace strobe::bench
