#include "jit/work_folder.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "core/message.h"

namespace strobe::jit {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPrefix = "strobe-cxx-";
constexpr const char* kLock = "lock";

// Folders of ours whose lock nobody holds. One that is just being made has no lock file yet, and stays.
void remove_abandoned(const fs::path& above) {
  std::error_code error;
  for (fs::directory_iterator entry(above, error), end; !error && entry != end; entry.increment(error)) {
    if (!entry->path().filename().string().starts_with(kPrefix)) continue;
    const int lock = ::open((entry->path() / kLock).c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (lock < 0) continue;  // another user's, too
    std::error_code ignored;
    if (::flock(lock, LOCK_EX | LOCK_NB) == 0) fs::remove_all(entry->path(), ignored);
    ::close(lock);
  }
}

}  // namespace

WorkFolder::WorkFolder() {
  std::error_code error;
  const fs::path above = fs::temp_directory_path(error);
  if (error) fail(ErrorKind::kIo, "no folder for temporary files: {}; TMPDIR says where", error.message());
  remove_abandoned(above);
  path_ = (above / kPrefix).string() + "XXXXXX";
  if (::mkdtemp(path_.data()) == nullptr)
    fail(ErrorKind::kIo, "{} cannot be made: {}; TMPDIR says where it would be", path_, std::strerror(errno));
  lock_ = ::open(path(kLock).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock_ >= 0) (void)::flock(lock_, LOCK_EX | LOCK_NB);
}

WorkFolder::~WorkFolder() {
  std::error_code error;
  fs::remove_all(path_, error);
  if (lock_ >= 0) ::close(lock_);
}

}  // namespace strobe::jit
