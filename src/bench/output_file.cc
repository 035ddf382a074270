#include "bench/output_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "core/message.h"

namespace strobe::bench {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail_to_write(const std::string& path) {
  fail(ErrorKind::kIo, "{}: cannot be written: {}", path, std::strerror(errno));
}

std::string temporary_name(const std::string& path) { return fmt::format("{}.tmp-{}", path, getpid()); }

void write_all(int file, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t written = ::write(file, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_to_write(path);
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

// A file descriptor; a temporary file disappears with it unless it was kept.
class File {
 public:
  File(std::string path, int flags)
      : path_(std::move(path)), file_(open(path_.c_str(), flags | O_CLOEXEC, 0666)) {
    temporary_ = (flags & O_CREAT) != 0;
  }
  ~File() {
    if (file_ < 0) return;
    close(file_);
    if (temporary_) unlink(path_.c_str());
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  int get() const { return file_; }
  void keep_as(const std::string& name) {
    if (fsync(file_) != 0 || rename(path_.c_str(), name.c_str()) != 0) fail_to_write(name);
    temporary_ = false;
  }

 private:
  std::string path_;
  int file_;
  bool temporary_;
};

}  // namespace

OutputFile::OutputFile(std::string path) : path_(std::move(path)) {
  std::error_code error;
  const fs::file_status status = fs::status(path_, error);
  if (fs::is_directory(status)) fail(ErrorKind::kIo, "{}: cannot be written: it is a directory", path_);
  if (fs::exists(status)) {
    if (access(path_.c_str(), W_OK) != 0) fail_to_write(path_);
    special_ = !fs::is_regular_file(status);
    if (special_) return;
    path_ = fs::canonical(path_).string();
  }
  const File probe(temporary_name(path_), O_WRONLY | O_CREAT | O_TRUNC);
  if (probe.get() < 0) fail_to_write(path_);
}

void OutputFile::write(std::string_view text) const {
  File file(special_ ? path_ : temporary_name(path_), special_ ? O_WRONLY : O_WRONLY | O_CREAT | O_TRUNC);
  if (file.get() < 0) fail_to_write(path_);
  write_all(file.get(), text, path_);
  if (!special_) file.keep_as(path_);
}

}  // namespace strobe::bench
