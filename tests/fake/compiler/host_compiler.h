// The host's C++ compiler as a process.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace emulated {

// A folder that is removed with its content.
class WorkFolder {
 public:
  WorkFolder();
  ~WorkFolder();
  WorkFolder(const WorkFolder&) = delete;
  WorkFolder& operator=(const WorkFolder&) = delete;
  // Writes the file, making the folders above it.
  void write(const std::string& name, const std::string& content) const;
  std::string read(const std::string& name) const;  // "" when there is none
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Runs the compiler in the folder: whether it succeeded, and what it printed.
std::pair<bool, std::string> run_compiler(const WorkFolder& folder,
                                          const std::vector<std::string>& arguments);

}  // namespace emulated
