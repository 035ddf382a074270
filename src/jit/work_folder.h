// A folder for one compile, below TMPDIR.
#pragma once

#include <string>

namespace strobe::jit {

// Removed with its content; those of processes that were killed are removed by the next one that makes one.
class WorkFolder {
 public:
  // Throws Error(kIo).
  WorkFolder();
  ~WorkFolder();
  WorkFolder(const WorkFolder&) = delete;
  WorkFolder& operator=(const WorkFolder&) = delete;

  std::string path(const std::string& name) const { return path_ + '/' + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  int lock_ = -1;  // held on a file in it while its process lives
};

}  // namespace strobe::jit
