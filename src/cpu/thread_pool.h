// The default executor: a pool whose threads claim items of one job at a time from an atomic word.
//
//   claim    {workers : 32 | unclaimed items : 32}. A thread claims its first item of a job by
//   compare-exchange and
//            reads the job only after that. While it holds a claim that it has not reported, the job cannot
//            end, so what it reads is the job of the claim; a thread that arrives late finds no items, or a
//            later job, and never a finished caller's stack.
//   pending  items not reported as finished. The caller works too and leaves when this is zero: it waits for
//   claimed
//            items only, never for a worker that the operating system has not scheduled.
//   signal   incremented for every job; idle workers poll it for `spin` microseconds, then sleep on it
//   (futex).
//
// `run` takes no lock and allocates nothing.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "strobe/threads.h"

namespace strobe::cpu {

inline constexpr int kMaxThreads = 1024;

// True on a thread that is inside a body of some pool's `run`; a `run` from there works inline.
bool inside_body();

class ThreadPool final : public Executor {
 public:
  // Starts threads - 1 workers, which may use all of `process_cpus`. Error(kInvalidArgument) unless threads
  // is in [1, 1024], Error(kOutOfMemory) when the system has no more threads. Workers and the waiting caller
  // poll for `spin` before they sleep; with more threads than CPUs they never poll.
  ThreadPool(int threads, std::chrono::microseconds spin);

  // Nothing may run on the pool any more.
  ~ThreadPool() override;

  int max_workers() const override { return threads_.load(std::memory_order_relaxed); }

  // A body that throws ends the program (std::terminate).
  void run(int items, int workers, FunctionRef<void(int item, int worker)> body) noexcept override;

  // Waits until no job runs, then changes the number of threads. A `run` meanwhile works inline. Errors as
  // the constructor, and Error(kInvalidArgument) from inside a body, which would wait for itself.
  void resize(int threads);

  // Ends the workers without waiting for the job: its caller finishes it alone, as any later one.
  void stop();

  // False in the child of a fork, where the workers do not exist: there every caller works alone, for good.
  bool alive() const;

  // Thread ids of the workers, by worker number from 1.
  std::vector<pid_t> worker_ids();

 private:
  struct Worker;
  struct Job {
    int items = 0;
    const FunctionRef<void(int item, int worker)>* body = nullptr;
  };

  void start(int threads);
  void end_workers();
  static void* worker_main(void* worker);
  void serve(int number);
  void publish(int items, int workers, const FunctionRef<void(int item, int worker)>& body);
  void work(int number);
  void report(int finished);
  void join();
  void wait_for_job(std::uint32_t seen);
  void wake_sleepers(int most);
  template <class Condition>
  bool poll(Condition condition) const;

  // Each group of atomics has its own cache line: 64 bytes, two of them for the adjacent-line prefetcher.
  static constexpr std::size_t kLine = 128;

  alignas(kLine) std::atomic<std::uint64_t> claim_;
  alignas(kLine) std::atomic<std::uint32_t> pending_{0};
  std::atomic<bool> caller_sleeps_{false};
  alignas(kLine) std::atomic<std::uint32_t> signal_{0};
  std::atomic<bool> stopping_{false};
  alignas(kLine) std::atomic<int> sleepers_{0};
  alignas(kLine) Job job_;
  alignas(kLine) std::atomic<bool> busy_{false};  // a caller holds the workers
  std::atomic<int> threads_{1};
  std::chrono::microseconds wanted_spin_;
  std::chrono::microseconds spin_;
  std::uint64_t process_;  // forks before this process, see alive()

  std::mutex workers_mutex_;  // guards workers_; `run` does not take it
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace strobe::cpu
