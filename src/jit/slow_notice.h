// Says that something takes long, while it does.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "jit/report.h"

namespace strobe::jit {

// Reports `message` once when the object lives longer than `after`.
class SlowNotice {
 public:
  SlowNotice(std::chrono::milliseconds after, std::string message, const Report& report)
      : thread_([this, after, message = std::move(message), &report](std::stop_token) {
          std::unique_lock lock(mutex_);
          if (!over_.wait_for(lock, after, [this] { return done_; })) report(message);
        }) {}
  ~SlowNotice() {
    {
      const std::lock_guard lock(mutex_);
      done_ = true;
    }
    over_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable over_;
  bool done_ = false;
  std::jthread thread_;  // last: joined first
};

}  // namespace strobe::jit
