// An advisory lock between processes that are about to compile the same kernel. It saves work and nothing
// depends on it: where locks do not work, or the holder takes too long, everybody compiles, and publication
// is atomic anyway.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "jit/cache.h"

namespace strobe::jit {

struct Patience {
  std::chrono::milliseconds before_message{2000};
  std::chrono::milliseconds limit{10000};
};

class CompileLock {
 public:
  // Tries to take <stem>.lock in the cache; while another process holds it, waits until it lets go, until
  // `done` says that the work is done, or until the limit, and says after a while whom it waits for.
  CompileLock(Cache& cache, const std::string& stem, const Patience& patience,
              const std::function<bool()>& done);
  ~CompileLock();
  CompileLock(const CompileLock&) = delete;
  CompileLock& operator=(const CompileLock&) = delete;

  bool held() const { return descriptor_ >= 0; }

 private:
  bool try_take(bool& busy);
  std::string holder() const;

  Cache& cache_;
  std::string path_;
  int descriptor_ = -1;
};

}  // namespace strobe::jit
