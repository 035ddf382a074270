// A result file that is there as a whole or not at all.
#pragma once

#include <string>
#include <string_view>

namespace strobe::bench {

class OutputFile {
 public:
  // Finds out whether `path` can be written, before there is anything to write; throws Error(kIo) that names
  // it.
  explicit OutputFile(std::string path);

  // Writes a temporary file beside it and renames it, so that an interrupted program leaves the old file or
  // none. What is not a regular file (/dev/stdout, a pipe) is written directly. Throws Error(kIo).
  void write(std::string_view text) const;

 private:
  std::string path_;      // symbolic links resolved
  bool special_ = false;  // exists and is not a regular file
};

}  // namespace strobe::bench
