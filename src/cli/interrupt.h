// Ctrl-C while something runs that can stop between two of its steps.
#pragma once

#include <csignal>

namespace strobe::cli {

// While one exists, the first SIGINT or SIGTERM is remembered; a second one ends the process as ever.
class InterruptWatch {
 public:
  InterruptWatch();
  ~InterruptWatch();
  InterruptWatch(const InterruptWatch&) = delete;
  InterruptWatch& operator=(const InterruptWatch&) = delete;

  static bool interrupted();  // since the newest watch began

 private:
  struct sigaction int_before_, term_before_;
};

}  // namespace strobe::cli
