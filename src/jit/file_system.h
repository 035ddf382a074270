// The few file-system calls that the cache makes, behind an interface, so that tests can let them fail as
// full, read-only and lockless file systems do. Every call returns 0 or an errno.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace strobe::jit {

struct FileStatus {
  uid_t owner = 0;
  mode_t mode = 0;  // type and permissions, as stat(2) has them
  std::int64_t bytes = 0;
  std::int64_t modified = 0;  // seconds since 1970
};

// This class is the real file system; tests override single calls.
class FileSystem {
 public:
  virtual ~FileSystem() = default;

  virtual int make_directory(const std::string& path, mode_t mode);
  virtual int status(const std::string& path, FileStatus& status);  // of what a link points to
  virtual int list(const std::string& path, std::vector<std::string>& names);
  virtual int read(const std::string& path, std::string& content);
  virtual int remove(const std::string& path);
  virtual int rename(const std::string& from, const std::string& to);
  // Makes the names in a folder durable.
  virtual int sync_folder(const std::string& path);

  // A new file (EEXIST when the name is taken), readable and writable by this user only.
  virtual int create(const std::string& path, int& descriptor);
  virtual int write(int descriptor, const std::string& content);      // at its end
  virtual int overwrite(int descriptor, const std::string& content);  // at its beginning
  virtual int sync(int descriptor);
  // Opens an existing file, or creates it, for locking.
  virtual int open_lock(const std::string& path, bool create, int& descriptor);
  virtual int try_lock(int descriptor);  // exclusive; EWOULDBLOCK when another has it
  // Whether the descriptor is still the file of that name.
  virtual bool is_current(int descriptor, const std::string& path);
  virtual void unlock(int descriptor);
  virtual void close(int descriptor);
};

// The real one.
FileSystem& file_system();

}  // namespace strobe::jit
