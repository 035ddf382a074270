// Work that threads share when they ask for the same at once.
#pragma once

#include <unistd.h>

#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "core/message.h"

namespace strobe::jit {

template <class Result>
class SharedWork {
 public:
  // What `work` returns or throws; threads that come with the same key meanwhile wait for it and get the
  // same. A forked child does not wait for what a thread of its parent was in.
  template <class F>
  std::shared_ptr<const Result> run(const std::string& key, F work) {
    const std::string share = fmt::format("{} {}", key, ::getpid());
    std::promise<std::shared_ptr<const Result>> promise;
    std::shared_future<std::shared_ptr<const Result>> shared;
    {
      const std::lock_guard lock(mutex_);
      const auto [place, is_mine] = running_.try_emplace(share);
      if (is_mine) place->second = promise.get_future().share();
      if (!is_mine) shared = place->second;
    }
    if (shared.valid()) return shared.get();
    try {
      promise.set_value(work());
    } catch (...) {
      promise.set_exception(std::current_exception());
    }
    const std::lock_guard lock(mutex_);
    return running_.extract(share).mapped().get();
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::shared_future<std::shared_ptr<const Result>>> running_;
};

}  // namespace strobe::jit
