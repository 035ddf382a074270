// The line on stderr that shows what runs, and the place where a run can be stopped.
#pragma once

#include <chrono>
#include <functional>
#include <string_view>
#include <utility>

namespace strobe::bench {

// Thrown by Progress::show when the run is to stop. No error: what is finished stays.
struct Stopped {};

class Progress {
 public:
  // `stop`, when there is one, says whether the run is to stop.
  explicit Progress(bool visible, std::function<bool()> stop = {})
      : visible_(visible), stop_(std::move(stop)) {}
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  static bool on_terminal();  // whether stderr is one, where the line can be replaced

  // Replaces the line, at most ten times a second. Everything that takes long calls it between its steps;
  // throws Stopped when `stop` says so.
  void show(std::string_view text);
  // Removes it, before something else is printed.
  void clear();

 private:
  bool visible_;
  std::function<bool()> stop_;
  bool shown_ = false;
  std::chrono::steady_clock::time_point last_;
};

}  // namespace strobe::bench
