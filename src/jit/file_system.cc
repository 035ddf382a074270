#include "jit/file_system.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace strobe::jit {
namespace {

int error_of(int result) { return result == 0 ? 0 : errno; }

int open_file(const std::string& path, int flags, int& descriptor, mode_t mode = 0) {
  do descriptor = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  while (descriptor < 0 && errno == EINTR);
  return descriptor < 0 ? errno : 0;
}

constexpr mode_t kOwnerOnly = 0600;

}  // namespace

int FileSystem::make_directory(const std::string& path, mode_t mode) {
  return error_of(::mkdir(path.c_str(), mode));
}

int FileSystem::status(const std::string& path, FileStatus& status) {
  struct stat found {};
  if (::stat(path.c_str(), &found) != 0) return errno;
  status = {found.st_uid, found.st_mode, found.st_size, found.st_mtime};
  return 0;
}

int FileSystem::list(const std::string& path, std::vector<std::string>& names) {
  DIR* folder = ::opendir(path.c_str());
  if (folder == nullptr) return errno;
  errno = 0;
  while (const dirent* entry = ::readdir(folder)) names.emplace_back(entry->d_name);
  const int error = errno;
  ::closedir(folder);
  std::erase_if(names, [](const std::string& name) { return name == "." || name == ".."; });
  return error;
}

int FileSystem::read(const std::string& path, std::string& content) {
  int descriptor = -1;
  if (const int error = open_file(path, O_RDONLY, descriptor); error != 0) return error;
  content.clear();
  struct stat found {};
  if (::fstat(descriptor, &found) == 0 && S_ISREG(found.st_mode))
    content.reserve(static_cast<std::size_t>(found.st_size));
  char buffer[64 * 1024];
  ssize_t bytes = 0;
  while ((bytes = ::read(descriptor, buffer, sizeof buffer)) > 0 || (bytes < 0 && errno == EINTR))
    if (bytes > 0) content.append(buffer, static_cast<std::size_t>(bytes));
  const int error = bytes < 0 ? errno : 0;
  ::close(descriptor);
  return error;
}

int FileSystem::remove(const std::string& path) { return error_of(::unlink(path.c_str())); }

int FileSystem::rename(const std::string& from, const std::string& to) {
  return error_of(std::rename(from.c_str(), to.c_str()));
}

int FileSystem::sync_folder(const std::string& path) {
  int descriptor = -1;
  if (const int error = open_file(path, O_RDONLY | O_DIRECTORY, descriptor); error != 0) return error;
  const int error = error_of(::fsync(descriptor));
  ::close(descriptor);
  return error;
}

int FileSystem::create(const std::string& path, int& descriptor) {
  return open_file(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, descriptor, kOwnerOnly);
}

int FileSystem::write(int descriptor, const std::string& content) {
  for (std::size_t done = 0; done < content.size();) {
    const ssize_t bytes = ::write(descriptor, content.data() + done, content.size() - done);
    if (bytes < 0 && errno != EINTR) return errno;
    if (bytes > 0) done += static_cast<std::size_t>(bytes);
  }
  return 0;
}

int FileSystem::overwrite(int descriptor, const std::string& content) {
  return ::pwrite(descriptor, content.data(), content.size(), 0) < 0 ? errno : 0;
}

int FileSystem::sync(int descriptor) { return error_of(::fsync(descriptor)); }

int FileSystem::open_lock(const std::string& path, bool create, int& descriptor) {
  return open_file(path, O_RDWR | O_NOFOLLOW | (create ? O_CREAT : 0), descriptor, kOwnerOnly);
}

int FileSystem::try_lock(int descriptor) { return error_of(::flock(descriptor, LOCK_EX | LOCK_NB)); }

bool FileSystem::is_current(int descriptor, const std::string& path) {
  struct stat held {
  }, named{};
  return ::fstat(descriptor, &held) == 0 && ::stat(path.c_str(), &named) == 0 &&
         held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

// Explicitly: a child forked meanwhile shares the lock, and closing here would leave it with the child.
void FileSystem::unlock(int descriptor) { ::flock(descriptor, LOCK_UN); }

void FileSystem::close(int descriptor) { ::close(descriptor); }

FileSystem& file_system() {
  static FileSystem real;
  return real;
}

}  // namespace strobe::jit
