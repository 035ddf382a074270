#include "cpu/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "core/message.h"
#include "cpu/futex.h"
#include "cpu/pin.h"

namespace strobe::cpu {
namespace {

using Clock = std::chrono::steady_clock;

// A wake-up spreads as a tree: each thread that is woken wakes as many again. Waking costs the waker about a
// microsecond a thread, and the woken one tens of microseconds until it runs.
constexpr int kWakeFan = 8;

constexpr int kPollsPerClockRead = 16;

std::atomic<std::uint64_t> forks{0};
[[maybe_unused]] const int kForkHandler = pthread_atfork(nullptr, nullptr, [] { ++forks; });

thread_local bool this_thread_inside_body = false;

class InsideBody {
 public:
  InsideBody() : before_(std::exchange(this_thread_inside_body, true)) {}
  ~InsideBody() { this_thread_inside_body = before_; }
  InsideBody(const InsideBody&) = delete;
  InsideBody& operator=(const InsideBody&) = delete;

 private:
  bool before_;
};

// The low half is biased: each thread decrements once too often, which must not borrow from the upper half.
constexpr std::uint64_t kNoItems = std::uint64_t{1} << 31;

constexpr std::uint64_t pack_claim(int workers, int items) {
  return (static_cast<std::uint64_t>(workers) << 32) + kNoItems + static_cast<std::uint64_t>(items);
}
constexpr int workers_of(std::uint64_t claim) { return static_cast<int>(claim >> 32); }
constexpr int unclaimed_of(std::uint64_t claim) {
  return static_cast<int>(static_cast<std::int64_t>(claim & 0xffffffff) -
                          static_cast<std::int64_t>(kNoItems));
}

void relax() {
#if defined(__x86_64__)
  asm volatile("pause");
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

void check_threads(int threads) {
  if (threads < 1 || threads > kMaxThreads)
    fail(ErrorKind::kInvalidArgument, "threads: expected an integer in [1, {}], got {}", kMaxThreads,
         threads);
}

}  // namespace

bool inside_body() { return this_thread_inside_body; }

// A plain pthread_t and not a std::thread, whose destructor would end the child of a fork.
struct ThreadPool::Worker {
  ThreadPool* pool;
  int number;
  pthread_t thread{};
  std::atomic<pid_t> id{0};

  Worker(ThreadPool* owner, int worker_number) : pool(owner), number(worker_number) {}
};

ThreadPool::ThreadPool(int threads, std::chrono::microseconds spin)
    : claim_(pack_claim(0, 0)), wanted_spin_(spin), spin_(spin), process_(forks.load()) {
  check_threads(threads);
  start(threads);
}

ThreadPool::~ThreadPool() { stop(); }

bool ThreadPool::alive() const { return process_ == forks.load(std::memory_order_relaxed); }

void ThreadPool::run(int items, int workers, FunctionRef<void(int item, int worker)> body) noexcept {
  workers = std::min({workers, items, max_workers()});
  const bool alone = workers <= 1 || inside_body() || busy_.exchange(true, std::memory_order_acquire);
  const InsideBody inside;
  if (alone) {
    for (int item = 0; item < items; ++item) body(item, 0);
    return;
  }
  publish(items, workers, body);
  work(0);
  join();
  busy_.store(false, std::memory_order_release);
}

void ThreadPool::publish(int items, int workers, const FunctionRef<void(int item, int worker)>& body) {
  job_ = {items, &body};
  pending_.store(static_cast<std::uint32_t>(items), std::memory_order_relaxed);
  claim_.store(pack_claim(workers, items), std::memory_order_release);
  // Sequentially consistent, as in wait_for_job: either we see the sleeper, or it sees the signal.
  signal_.fetch_add(1, std::memory_order_seq_cst);
  wake_sleepers(workers - 1);
}

void ThreadPool::work(int number) {
  std::uint64_t claim = claim_.load(std::memory_order_acquire);
  do {
    if (unclaimed_of(claim) <= 0 || number >= workers_of(claim)) return;
  } while (!claim_.compare_exchange_weak(claim, claim - 1, std::memory_order_acquire));
  // From here to the report the job is ours, and a claim needs no comparison.
  int finished = 0;
  for (; unclaimed_of(claim) > 0; claim = claim_.fetch_sub(1, std::memory_order_relaxed)) {
    (*job_.body)(job_.items - unclaimed_of(claim), number);
    ++finished;
  }
  report(finished);
}

void ThreadPool::report(int finished) {
  const auto count = static_cast<std::uint32_t>(finished);
  const bool last = pending_.fetch_sub(count, std::memory_order_seq_cst) == count;
  if (last && caller_sleeps_.load(std::memory_order_seq_cst)) futex_wake(pending_, 1);
}

void ThreadPool::join() {
  if (poll([this] { return pending_.load(std::memory_order_acquire) == 0; })) return;
  caller_sleeps_.store(true, std::memory_order_seq_cst);
  for (std::uint32_t left; (left = pending_.load(std::memory_order_seq_cst)) != 0;)
    futex_wait(pending_, left);
  caller_sleeps_.store(false, std::memory_order_relaxed);
}

template <class Condition>
bool ThreadPool::poll(Condition condition) const {
  if (condition()) return true;
  if (spin_.count() == 0) return false;
  const Clock::time_point deadline = Clock::now() + spin_;
  do {
    for (int i = 0; i < kPollsPerClockRead; ++i) {
      relax();
      if (condition()) return true;
    }
  } while (Clock::now() < deadline);
  return false;
}

void* ThreadPool::worker_main(void* argument) {
  auto& worker = *static_cast<Worker*>(argument);
  // The creating thread may be pinned (OpenMP runtimes bind the main thread), and threads inherit that.
  set_affinity(process_cpus());
  pthread_setname_np(pthread_self(), fmt::format("strobe-{}", worker.number).c_str());
  worker.id.store(static_cast<pid_t>(syscall(SYS_gettid)), std::memory_order_release);
  this_thread_inside_body = true;
  worker.pool->serve(worker.number);
  return nullptr;
}

void ThreadPool::serve(int number) {
  for (;;) {
    // Read before looking for work: a job or a stop that comes later changes it, and the wait returns at
    // once.
    const std::uint32_t seen = signal_.load(std::memory_order_acquire);
    if (stopping_.load(std::memory_order_acquire)) return;
    work(number);
    wait_for_job(seen);
  }
}

void ThreadPool::wait_for_job(std::uint32_t seen) {
  if (poll([this, seen] { return signal_.load(std::memory_order_acquire) != seen; })) return;
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  futex_wait(signal_, seen);
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
  wake_sleepers(unclaimed_of(claim_.load(std::memory_order_acquire)) - 1);
}

void ThreadPool::wake_sleepers(int most) {
  if (most > 0 && sleepers_.load(std::memory_order_seq_cst) > 0)
    futex_wake(signal_, std::min(most, kWakeFan));
}

void ThreadPool::resize(int threads) {
  check_threads(threads);
  if (inside_body())
    fail(ErrorKind::kInvalidArgument,
         "threads: the number cannot change from inside a body that runs on them");
  while (busy_.exchange(true, std::memory_order_acquire)) sched_yield();
  struct Release {
    std::atomic<bool>& busy;
    ~Release() { busy.store(false, std::memory_order_release); }
  } release{busy_};
  const std::lock_guard lock(workers_mutex_);
  if (threads == max_workers()) return;
  end_workers();
  start(threads);
}

void ThreadPool::stop() {
  if (!alive()) return;
  const std::lock_guard lock(workers_mutex_);
  end_workers();
}

void ThreadPool::start(int threads) {
  const bool oversubscribed = static_cast<std::size_t>(threads) > process_cpus().size();
  spin_ = oversubscribed ? std::chrono::microseconds(0) : wanted_spin_;
  for (int number = 1; number < threads; ++number) {
    auto worker = std::make_unique<Worker>(this, number);
    if (pthread_create(&worker->thread, nullptr, worker_main, worker.get()) != 0) {
      end_workers();
      fail(ErrorKind::kOutOfMemory, "threads: the system gave {} of {} threads", number, threads);
    }
    workers_.push_back(std::move(worker));
  }
  threads_.store(threads, std::memory_order_relaxed);
}

void ThreadPool::end_workers() {
  stopping_.store(true, std::memory_order_release);
  signal_.fetch_add(1, std::memory_order_seq_cst);
  futex_wake(signal_, std::numeric_limits<int>::max());
  for (const auto& worker : workers_)  // this one, when a body calls std::exit, cannot wait for itself
    if (!pthread_equal(worker->thread, pthread_self())) pthread_join(worker->thread, nullptr);
  workers_.clear();
  threads_.store(1, std::memory_order_relaxed);
  stopping_.store(false, std::memory_order_release);
}

std::vector<pid_t> ThreadPool::worker_ids() {
  std::vector<pid_t> ids;
  if (!alive()) return ids;
  const std::lock_guard lock(workers_mutex_);
  for (const auto& worker : workers_) {
    while (worker->id.load(std::memory_order_acquire) == 0) sched_yield();
    ids.push_back(worker->id.load(std::memory_order_acquire));
  }
  return ids;
}

}  // namespace strobe::cpu
