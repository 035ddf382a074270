// Plain files in and out of a tar archive (POSIX.1-1988, "ustar").
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace strobe::jit {

struct TarFile {
  std::string name;  // at most 99 bytes
  std::string content;
};

std::string write_tar(const std::vector<TarFile>& files);

// The files of an archive that holds nothing else. Throws Error(kInvalidArgument) for links, directories,
// devices, and for bytes that are no such archive; names are the caller's to judge.
std::vector<TarFile> read_tar(std::string_view archive);

}  // namespace strobe::jit
