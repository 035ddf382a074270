// Threads of the CPU backend.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

#include "strobe/export.h"

namespace strobe::inline v1 {

// A non-owning reference to a callable: two pointers, no allocation.
template <class Signature>
class FunctionRef;
template <class R, class... Args>
class FunctionRef<R(Args...)> {
 public:
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef>)
      FunctionRef(F&& function)  // NOLINT: implicit by design
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(function)))),
        call_([](void* object, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(object))(std::forward<Args>(args)...);
        }) {}
  R operator()(Args... args) const { return call_(object_, std::forward<Args>(args)...); }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

// Runs independent items on several threads. The default is a work-queue pool of the library's own; a host
// application may hand in its own (torch's at::parallel_for, a TBB arena, …) with `set_executor`.
class STROBE_API Executor {
 public:
  virtual ~Executor() = default;

  // The most workers that `run` uses, the calling thread included.
  virtual int max_workers() const = 0;

  // Calls `body(item, worker)` once for each item in [0, items), concurrently, and returns when all have
  // returned. `worker` is in [0, min(workers, max_workers())); no two bodies run at once with the same worker
  // number. Items are claimed in increasing order. A call from inside a body, or while another thread's call
  // holds the workers, runs all its items on the calling thread as worker 0. Bodies must not throw.
  virtual void run(int items, int workers, FunctionRef<void(int item, int worker)> body) = 0;
};

// The executor that CPU operators use. Made at the first use; threads: STROBE_NUM_THREADS, else the CPUs this
// process may use.
STROBE_API Executor& executor();

// Replaces the executor (nullptr: back to the default). The caller keeps `executor` alive until it is
// replaced again and no operator runs on it.
STROBE_API void set_executor(Executor* executor);

// Threads of the default executor. `set_num_threads` throws Error(kInvalidArgument) below 1 or above 1024; it
// waits until no operator runs on the pool.
STROBE_API int num_threads();
STROBE_API void set_num_threads(int threads);

}  // namespace strobe::inline v1
