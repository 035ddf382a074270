// Reading and writing the files of a data set. Errors are Error(kIo) that name the file and the reason.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace strobe::trace {

std::string read_file(const std::filesystem::path& path);

// The file is there as a whole or, after a crash, as it was: a temporary file beside it, made durable, then
// renamed. Missing folders are made.
void write_file(const std::filesystem::path& path, std::string_view text);

// Waits until a file that is written is on the disk.
void sync_file(const std::filesystem::path& path);

// Adds a line to a JSONL file, after which it is on the disk. Writers in other processes and threads wait for
// one another (flock; where the file system has no locks the line still goes out in one write at the end of
// the file). A last line that a crash has left without its end is ended first, so that no record is lost with
// it.
void append_line(const std::filesystem::path& path, std::string_view line);

struct Line {
  int number = 0;  // from 1
  std::string_view text;
};
// The lines that are not blank.
std::vector<Line> lines_of(std::string_view text);

// Whether a file's text is the pointer that git-lfs leaves where it has not fetched the file.
bool is_lfs_pointer(std::string_view text);

}  // namespace strobe::trace
