#include "trace/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/message.h"

namespace strobe::trace {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail_at(const fs::path& path, std::string_view what, int error) {
  fail(ErrorKind::kIo, "{}: cannot be {}: {}", path.string(), what, std::strerror(error));
}

class Descriptor {
 public:
  Descriptor(const fs::path& path, int flags, std::string_view what)
      : number_(open(path.c_str(), flags | O_CLOEXEC, 0666)) {
    if (number_ < 0) fail_at(path, what, errno);
  }
  ~Descriptor() { close(number_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  operator int() const { return number_; }

 private:
  int number_;
};

void write_all(int descriptor, const fs::path& path, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = write(descriptor, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_at(path, "written", errno);
    text.remove_prefix(static_cast<std::size_t>(count));
  }
}

void sync(int descriptor, const fs::path& path) {
  if (fsync(descriptor) != 0 && errno != EINVAL && errno != EROFS) fail_at(path, "written", errno);
}

void make_folder_of(const fs::path& path) {
  if (!path.has_parent_path()) return;
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  if (error) fail_at(path.parent_path(), "made", error.value());
}

void wait_for_lock(int descriptor) {
  while (flock(descriptor, LOCK_EX) != 0 && errno == EINTR) {
  }
}

bool ends_with_line_break(int descriptor, const fs::path& path) {
  struct stat status {};
  if (fstat(descriptor, &status) != 0) fail_at(path, "read", errno);
  char last = '\n';
  if (status.st_size > 0 && pread(descriptor, &last, 1, status.st_size - 1) != 1)
    fail_at(path, "read", errno);
  return last == '\n';
}

}  // namespace

std::string read_file(const fs::path& path) {
  const Descriptor file(path, O_RDONLY, "read");
  std::string text;
  std::string part(1 << 16, '\0');
  while (true) {
    const ssize_t count = read(file, part.data(), part.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_at(path, "read", errno);
    if (count == 0) return text;
    text.append(part, 0, static_cast<std::size_t>(count));
  }
}

void write_file(const fs::path& path, std::string_view text) {
  static std::atomic<int> number{0};
  make_folder_of(path);
  const fs::path temporary = path.string() + fmt::format(".{}.{}.tmp", getpid(), number.fetch_add(1));
  try {
    const Descriptor file(temporary, O_WRONLY | O_CREAT | O_EXCL, "written");
    write_all(file, temporary, text);
    sync(file, temporary);
  } catch (...) {
    unlink(temporary.c_str());
    throw;
  }
  if (rename(temporary.c_str(), path.c_str()) != 0) {
    const int error = errno;
    unlink(temporary.c_str());
    fail_at(path, "written", error);
  }
}

void sync_file(const fs::path& path) { sync(Descriptor(path, O_RDONLY, "written"), path); }

void append_line(const fs::path& path, std::string_view line) {
  make_folder_of(path);
  const Descriptor file(path, O_RDWR | O_CREAT | O_APPEND, "written");
  wait_for_lock(file);
  std::string text = ends_with_line_break(file, path) ? "" : "\n";
  text.append(line).append("\n");
  write_all(file, path, text);
  sync(file, path);
}

std::vector<Line> lines_of(std::string_view text) {
  std::vector<Line> lines;
  for (int number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    if (line.find_first_not_of(" \t\r") != std::string_view::npos) lines.push_back({number, line});
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

bool is_lfs_pointer(std::string_view text) { return text.starts_with("version https://git-lfs."); }

}  // namespace strobe::trace
