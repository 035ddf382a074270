#include "bench/text_file.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "core/message.h"

namespace strobe::bench {

std::string read_text_file(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored))
    fail(ErrorKind::kIo, "{}: cannot be read: it is a directory", path);
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file) fail(ErrorKind::kIo, "{}: cannot be read: {}", path, std::strerror(errno));
  return text;
}

}  // namespace strobe::bench
