#include "jit/compile_lock.h"

#include <unistd.h>

#include <cerrno>
#include <thread>

#include "core/message.h"

namespace strobe::jit {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kPoll{5};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

CompileLock::CompileLock(Cache& cache, const std::string& stem, const Patience& patience,
                         const std::function<bool()>& done)
    : cache_(cache), path_(cache.path(stem + ".lock")) {
  const Clock::time_point start = Clock::now();
  bool announced = false;
  for (;;) {
    bool busy = false;
    if (try_take(busy) || !busy) return;
    if (done()) return;
    if (Clock::now() - start >= patience.limit) {
      cache_.report(fmt::format("{} still holds the compile of {} after {:.1f} s; compiling it here as well",
                                holder(), stem, seconds_since(start)));
      return;
    }
    if (!announced && Clock::now() - start >= patience.before_message) {
      announced = true;
      cache_.report(fmt::format("waiting for {}, which compiles {} ({:.1f} s so far; at most {:.0f} s)",
                                holder(), stem, seconds_since(start),
                                std::chrono::duration<double>(patience.limit).count()));
    }
    std::this_thread::sleep_for(kPoll);
  }
}

// Holders remove the file before they let go, so a lock counts only on the file that still has the name.
bool CompileLock::try_take(bool& busy) {
  FileSystem& files = cache_.files();
  int descriptor = -1;
  if (files.open_lock(path_, true, descriptor) != 0) return false;
  const int error = files.try_lock(descriptor);
  if (error == 0 && files.is_current(descriptor, path_)) {
    (void)files.overwrite(descriptor, fmt::format("{:<10}\n", ::getpid()));
    descriptor_ = descriptor;
    return true;
  }
  busy = error == EWOULDBLOCK || error == 0;
  files.close(descriptor);
  return false;
}

std::string CompileLock::holder() const {
  std::string text;
  if (cache_.files().read(path_, text) != 0 || text.empty()) return "another process";
  return fmt::format("process {}", text.substr(0, text.find_first_of(" \n")));
}

CompileLock::~CompileLock() {
  if (!held()) return;
  FileSystem& files = cache_.files();
  (void)files.remove(path_);
  files.unlock(descriptor_);
  files.close(descriptor_);
}

}  // namespace strobe::jit
