// A process that runs code which nobody trusts: in a session of its own, with limits, stopped between
// requests, and ended with everything that it has started.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "trace/model.h"

namespace strobe::trace {

struct ChildLimits {
  std::uint64_t memory_bytes = std::uint64_t{8} << 30;   // of its own data
  std::uint64_t output_bytes = std::uint64_t{64} << 20;  // on stdout and stderr together
};

// Why a child gave no answer.
struct ChildFailure {
  enum class Kind : std::uint8_t { kTimeout, kEnded, kTooMuchOutput, kMalformedAnswer };
  Kind kind;
  std::string text;
};

class Child {
 public:
  // Starts argv with `memory` (a file descriptor) as its descriptor 5, in `folder`. Throws Error(kIo) when it
  // cannot be started.
  Child(const std::vector<std::string>& argv, const std::string& folder, int memory,
        const ChildLimits& limits);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  struct Answer {
    Json json;
    std::chrono::nanoseconds time;  // from the request's first byte to the answer's last
  };
  // Lets the session go on, sends the request, waits for the answer and stops the session again. Throws
  // ChildFailure.
  Answer ask(const Json& request, std::chrono::milliseconds timeout);

  void stop();  // every process of the session
  void go_on();
  // Processes of the session beside the first, as "pid name".
  std::vector<std::string> others() const;
  // The last 64 KiB of what it has written on stdout and stderr.
  std::string printed();

 private:
  void drain();
  std::string ending();  // how the first process ended

  pid_t pid_ = -1;
  int requests_ = -1, answers_ = -1, output_ = -1;
  ChildLimits limits_;
  std::uint64_t output_bytes_ = 0;
  std::string output_text_, answer_text_;
};

}  // namespace strobe::trace
