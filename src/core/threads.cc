#include "strobe/threads.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>

#include "core/env.h"
#include "core/message.h"
#include "cpu/pin.h"
#include "cpu/thread_pool.h"

namespace strobe::inline v1 {
namespace {

// The default executor is never freed: a static object's destructor may still run operators. `before_fork` is
// the pool whose workers stayed in the parent process; references to it remain valid and run inline.
struct DefaultPool {
  cpu::ThreadPool pool;
  DefaultPool* before_fork;

  DefaultPool(int threads, std::chrono::microseconds spin, DefaultPool* previous)
      : pool(threads, spin), before_fork(previous) {}
};

std::atomic<Executor*> replacement{nullptr};
std::atomic<DefaultPool*> default_pool{nullptr};
std::atomic<bool> exiting{false};

// At exit or dlclose no worker may be left in code that is about to be unmapped.
struct StopAtExit {
  ~StopAtExit() {
    exiting.store(true);
    if (DefaultPool* made = default_pool.load()) made->pool.stop();
  }
} stop_at_exit;

int initial_threads() {
  if (exiting.load()) return 1;
  const int cpus = static_cast<int>(cpu::process_cpus().size());
  return env::integer(env::Variable::kNumThreads, 1, cpu::kMaxThreads, std::min(cpus, cpu::kMaxThreads));
}

// Lock-free, so that a fork in the middle leaves nothing locked in the child: of two threads that make a pool
// at once, one throws its own away.
cpu::ThreadPool& make_pool(int threads, DefaultPool* previous) {
  constexpr int kMaxSpinUs = 1'000'000;
  const std::chrono::microseconds spin(env::integer(env::Variable::kSpinUs, 0, kMaxSpinUs, 100));
  auto made = std::make_unique<DefaultPool>(threads, spin, previous);
  if (!default_pool.compare_exchange_strong(previous, made.get())) return previous->pool;
  return made.release()->pool;
}

}  // namespace

Executor& executor() {
  if (Executor* replaced = replacement.load(std::memory_order_acquire)) return *replaced;
  DefaultPool* made = default_pool.load(std::memory_order_acquire);
  if (made != nullptr && made->pool.alive()) return made->pool;
  return make_pool(num_threads(), made);
}

void set_executor(Executor* executor) { replacement.store(executor, std::memory_order_release); }

int num_threads() {
  const DefaultPool* made = default_pool.load(std::memory_order_acquire);
  return made != nullptr ? made->pool.max_workers() : initial_threads();
}

void set_num_threads(int threads) {
  if (threads < 1 || threads > cpu::kMaxThreads)
    fail(ErrorKind::kInvalidArgument, "set_num_threads: threads: expected an integer in [1, {}], got {}",
         cpu::kMaxThreads, threads);
  DefaultPool* made = default_pool.load(std::memory_order_acquire);
  cpu::ThreadPool& pool = made != nullptr && made->pool.alive() ? made->pool : make_pool(threads, made);
  pool.resize(threads);
}

}  // namespace strobe::inline v1
