// The line on stderr that shows what runs.
#pragma once

#include <chrono>
#include <string_view>

namespace strobe::bench {

class Progress {
 public:
  // Shows nothing unless stderr is a terminal.
  Progress();
  explicit Progress(bool visible) : visible_(visible) {}
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Replaces the line, at most ten times a second.
  void show(std::string_view text);
  // Removes it, before something else is printed.
  void clear();

 private:
  bool visible_;
  bool shown_ = false;
  std::chrono::steady_clock::time_point last_;
};

}  // namespace strobe::bench
