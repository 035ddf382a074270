// The work-queue pool, the default executor over it, and the affinity of their threads.
#include "cpu/thread_pool.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "cpu/pin.h"
#include "strobe/error.h"
#include "strobe/threads.h"

namespace strobe {
namespace {

using cpu::ThreadPool;
using std::chrono::microseconds;

constexpr microseconds kSpin{100};

// Runs `body` in a forked child; the child's exit status, or -1 when it did not end by itself within
// `seconds`.
int status_of_child(int seconds, const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  for (int tick = 0; tick < seconds * 1000; ++tick) {
    if (waitpid(child, &status, WNOHANG) == child) return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  kill(child, SIGKILL);
  waitpid(child, &status, 0);
  return -1;
}

// Waits, within a body, until `count` reaches `value`.
void await(const std::atomic<int>& count, int value) {
  while (count.load() < value) std::this_thread::yield();
}

struct Case {
  int threads, workers, items;
};

class ThreadPoolItems : public testing::TestWithParam<Case> {};

TEST_P(ThreadPoolItems, EachItemOnceWithExclusiveWorkerNumbers) {
  const auto [threads, workers, items] = GetParam();
  ThreadPool pool(threads, kSpin);
  std::vector<std::atomic<int>> done(static_cast<std::size_t>(items));
  std::vector<std::atomic<int>> inside(static_cast<std::size_t>(threads));
  std::atomic<int> failures{0};
  for (int repeat = 0; repeat < 50; ++repeat) {
    pool.run(items, workers, [&](int item, int worker) {
      if (worker < 0 || worker >= std::min(workers, threads)) {
        ++failures;
        return;
      }
      auto& here = inside[static_cast<std::size_t>(worker)];
      if (here.fetch_add(1) != 0) ++failures;
      ++done[static_cast<std::size_t>(item)];
      here.fetch_sub(1);
    });
  }
  EXPECT_EQ(failures, 0);
  for (const auto& count : done) ASSERT_EQ(count, 50);
}

INSTANTIATE_TEST_SUITE_P(Sizes, ThreadPoolItems,
                         testing::Values(Case{1, 1, 7}, Case{2, 2, 1}, Case{2, 2, 2}, Case{2, 2, 1000},
                                         Case{3, 2, 64}, Case{8, 3, 257}, Case{8, 100, 1000}, Case{16, 16, 5},
                                         Case{64, 64, 500}));

TEST(ThreadPool, NoItemsCallNothing) {
  ThreadPool pool(2, kSpin);
  int calls = 0;
  pool.run(0, 2, [&](int, int) { ++calls; });
  pool.run(-1, 2, [&](int, int) { ++calls; });
  EXPECT_EQ(calls, 0);
}

TEST(ThreadPool, ItemsOfOneWorkerIncrease) {
  ThreadPool pool(4, kSpin);
  std::vector<std::vector<int>> claimed(4);
  pool.run(2000, 4, [&](int item, int worker) { claimed[static_cast<std::size_t>(worker)].push_back(item); });
  for (const auto& items : claimed) EXPECT_TRUE(std::is_sorted(items.begin(), items.end()));
}

TEST(ThreadPool, ItemsRunAtTheSameTime) {
  ThreadPool pool(4, kSpin);
  std::atomic<int> arrived{0};
  pool.run(4, 4, [&](int, int) {  // returns only if four threads are inside at once
    ++arrived;
    await(arrived, 4);
  });
  EXPECT_EQ(arrived, 4);
}

TEST(ThreadPool, ManyThreadsAllWake) {
  constexpr int kThreads = 64;
  ThreadPool pool(kThreads, microseconds(0));
  pool.worker_ids();  // all have started
  for (int repeat = 0; repeat < 3; ++repeat) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // all sleep
    std::atomic<int> arrived{0};
    pool.run(kThreads, kThreads, [&](int, int) {
      ++arrived;
      await(arrived, kThreads);
    });
    EXPECT_EQ(arrived, kThreads);
  }
}

TEST(ThreadPool, OneItemRunsOnTheCaller) {
  ThreadPool pool(2, kSpin);
  std::thread::id thread;
  int number = -1;
  pool.run(1, 2, [&](int, int worker) {
    thread = std::this_thread::get_id();
    number = worker;
  });
  EXPECT_EQ(thread, std::this_thread::get_id());
  EXPECT_EQ(number, 0);
}

TEST(ThreadPool, NestedCallRunsInlineAsWorkerZero) {
  ThreadPool pool(3, kSpin);
  std::atomic<int> inner_items{0}, failures{0};
  pool.run(20, 3, [&](int, int) {
    const auto outer = std::this_thread::get_id();
    EXPECT_TRUE(cpu::inside_body());
    pool.run(10, 3, [&](int, int worker) {
      ++inner_items;
      if (worker != 0 || std::this_thread::get_id() != outer) ++failures;
    });
  });
  EXPECT_EQ(inner_items, 200);
  EXPECT_EQ(failures, 0);
  EXPECT_FALSE(cpu::inside_body());
}

TEST(ThreadPool, CallFromABodyOfOneItemRunsInlineToo) {
  ThreadPool pool(2, kSpin);
  std::set<std::thread::id> threads;
  pool.run(1, 2, [&](int, int) {
    pool.run(100, 2, [&](int, int worker) {
      EXPECT_EQ(worker, 0);
      threads.insert(std::this_thread::get_id());
      std::this_thread::sleep_for(microseconds(20));  // time for a worker to come
    });
  });
  EXPECT_EQ(threads, std::set{std::this_thread::get_id()});
}

TEST(ThreadPool, SecondCallerRunsInlineWhileTheFirstHoldsTheWorkers) {
  ThreadPool pool(2, kSpin);
  std::atomic<int> holding{0}, release{0};
  std::thread first([&] {
    pool.run(2, 2, [&](int, int) {
      ++holding;
      await(release, 1);
    });
  });
  await(holding, 2);
  std::set<std::thread::id> threads;
  int items = 0;
  pool.run(100, 2, [&](int, int worker) {
    threads.insert(std::this_thread::get_id());
    items += worker == 0;
  });
  release = 1;
  first.join();
  EXPECT_EQ(items, 100);
  EXPECT_EQ(threads, std::set{std::this_thread::get_id()});
}

TEST(ThreadPool, ConcurrentCallersStress) {
  ThreadPool pool(3, kSpin);
  std::vector<std::thread> callers;
  std::atomic<long> sum{0};
  for (int caller = 0; caller < 4; ++caller)
    callers.emplace_back([&] {
      for (int repeat = 0; repeat < 2000; ++repeat) {
        std::atomic<int> items{0};  // on this stack: a worker that came late would write to it
        pool.run(1 + repeat % 9, 3, [&](int, int) { ++items; });
        sum += items;
      }
    });
  for (auto& caller : callers) caller.join();
  long expected = 0;
  for (int repeat = 0; repeat < 2000; ++repeat) expected += 1 + repeat % 9;
  EXPECT_EQ(sum, 4 * expected);
}

TEST(ThreadPool, HundredThousandTinyJobs) {
  for (const int threads : {2, 5}) {
    ThreadPool pool(threads, kSpin);
    long wrong = 0;
    for (int job = 0; job < 100'000; ++job) {
      const int items = 2 + job % 7, workers = 1 + job % threads;
      std::atomic<long> sum{0};
      pool.run(items, workers, [&](int item, int) { sum += item + job; });
      wrong += sum != static_cast<long>(items) * job + items * (items - 1) / 2;
    }
    EXPECT_EQ(wrong, 0) << threads << " threads";
  }
}

TEST(ThreadPool, JobsWithoutPolling) {
  ThreadPool pool(2, microseconds(0));
  long total = 0;
  for (int job = 0; job < 3000; ++job) {
    std::atomic<int> items{0};
    pool.run(4, 2, [&](int, int) { ++items; });
    total += items;
  }
  EXPECT_EQ(total, 12000);
}

TEST(ThreadPool, ResultsOfWorkersAreVisibleToTheCaller) {
  ThreadPool pool(4, kSpin);
  std::vector<int> plain(512);  // not atomic: ThreadSanitizer checks the ordering
  for (int job = 0; job < 300; ++job) {
    pool.run(512, 4, [&](int item, int) { plain[static_cast<std::size_t>(item)] += item; });
    plain[0] += 1;
  }
  EXPECT_EQ(plain[0], 300);
  EXPECT_EQ(plain[511], 511 * 300);
}

TEST(ThreadPool, ResizeWhileOtherThreadsRun) {
  ThreadPool pool(2, kSpin);
  std::atomic<bool> stop{false};
  std::atomic<long> jobs{0}, wrong{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 2; ++caller)
    callers.emplace_back([&] {
      while (!stop) {
        std::atomic<int> items{0};
        pool.run(16, 8, [&](int, int) { ++items; });
        wrong += items != 16;
        ++jobs;
      }
    });
  for (const int threads : {5, 1, 3, 8, 2, 1, 4}) {
    pool.resize(threads);
    EXPECT_EQ(pool.max_workers(), threads);
    const long before = jobs;
    while (jobs < before + 20) std::this_thread::yield();
  }
  stop = true;
  for (auto& caller : callers) caller.join();
  EXPECT_EQ(wrong, 0);
}

TEST(ThreadPool, ResizeFromABodyIsAnError) {
  ThreadPool pool(2, kSpin);
  std::atomic<int> errors{0};
  pool.run(2, 2, [&](int, int) {
    try {
      pool.resize(3);
    } catch (const Error& error) {
      errors += error.kind() == ErrorKind::kInvalidArgument;
    }
  });
  EXPECT_EQ(errors, 2);
  EXPECT_EQ(pool.max_workers(), 2);
}

TEST(ThreadPool, RefusesThreadCountsOutOfRange) {
  EXPECT_THROW(ThreadPool(0, kSpin), Error);
  EXPECT_THROW(ThreadPool(1025, kSpin), Error);
  ThreadPool pool(1, kSpin);
  EXPECT_THROW(pool.resize(-3), Error);
}

TEST(ThreadPool, LargestSizeWorks) {
  ThreadPool pool(cpu::kMaxThreads, kSpin);
  std::atomic<int> items{0};
  pool.run(5000, cpu::kMaxThreads, [&](int, int) { ++items; });
  EXPECT_EQ(items, 5000);
  EXPECT_EQ(pool.worker_ids().size(), static_cast<std::size_t>(cpu::kMaxThreads - 1));
}

TEST(ThreadPool, StopDuringAJobLeavesTheRestToTheCaller) {
  ThreadPool pool(2, kSpin);
  std::atomic<int> items{0}, holding{0}, release{0};
  std::thread caller([&] {
    pool.run(100, 2, [&](int, int) {
      ++items;
      ++holding;
      await(release, 1);
    });
  });
  await(holding, 2);
  std::thread stopper([&] { pool.stop(); });
  release = 1;
  stopper.join();
  caller.join();
  EXPECT_EQ(items, 100);
  pool.run(10, 2, [&](int, int worker) { items += 1 + worker; });
  EXPECT_EQ(items, 110);
}

TEST(ThreadPoolDeathTest, ABodyThatThrowsEndsTheProgram) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        ThreadPool pool(2, kSpin);
        pool.run(2, 2, [](int, int) { throw 1; });
      },
      "");
}

constexpr int kEmulated = 126;  // the kernel does not know the format of this program

// Environment variables are read when the pool is made, and the affinity mask when the program is loaded; so
// the program starts itself again as `probe <name>`, see main().
int status_of_probe(const std::string& name, const std::vector<std::string>& environment,
                    const std::vector<int>& cpus = {}) {
  return status_of_child(20, [&] {
    if (!cpus.empty()) cpu::set_affinity(cpus);
    for (const char* variable :
         {"STROBE_NUM_THREADS", "STROBE_SPIN_US", "OMP_PROC_BIND", "GOMP_CPU_AFFINITY", "KMP_AFFINITY"})
      unsetenv(variable);
    for (const std::string& assignment : environment) putenv(const_cast<char*>(assignment.c_str()));
    execl("/proc/self/exe", "thread_pool_test", "probe", name.c_str(), nullptr);
    return errno == ENOEXEC ? kEmulated : 127;
  });
}

bool emulated() { return status_of_probe("nothing", {}) == kEmulated; }

// ThreadSanitizer's runtime finds the ids of the parent's threads in use, and QEMU stops at an assertion of
// its own, when the child of a threaded fork starts a thread.
class ThreadsAfterFork : public testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "ThreadSanitizer cannot start threads after a fork";
#else
    if (emulated()) GTEST_SKIP() << "QEMU cannot start threads after a fork";
#endif
  }
};

TEST(ThreadPool, ForkedChildRunsInlineOnTheParentsPool) {
  ThreadPool pool(3, kSpin);
  pool.run(10, 3, [](int, int) {});
  const int status = status_of_child(20, [&] {
    int items = 0;
    pool.run(10, 3, [&](int, int worker) { items += worker == 0; });
    pool.stop();
    return !pool.alive() && items == 10 && pool.worker_ids().empty() ? 0 : 1;
  });
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(pool.alive());
}

TEST_F(ThreadsAfterFork, ChildMakesItsOwnPool) {
  ThreadPool pool(3, kSpin);
  std::atomic<int> begun{0};  // AddressSanitizer's runtime holds a lock while a thread begins
  pool.run(3, 3, [&](int, int) {
    ++begun;
    await(begun, 3);
  });
  const int status = status_of_child(20, [&] {
    ThreadPool own(3, kSpin);
    std::atomic<int> arrived{0};
    own.run(3, 3, [&](int, int) {
      ++arrived;
      await(arrived, 3);
    });
    return own.alive() && arrived == 3 ? 0 : 1;
  });
  EXPECT_EQ(status, 0);
}

TEST_F(ThreadsAfterFork, WhileAnotherThreadRunsOnTheDefaultExecutor) {
  set_num_threads(2);
  std::atomic<int> holding{0}, release{0};
  std::thread other([&] {
    executor().run(2, 2, [&](int, int) {
      ++holding;
      await(release, 1);
    });
  });
  await(holding, 2);
  for (int repeat = 0; repeat < 3; ++repeat) {
    const int status = status_of_child(20, [&] {
      if (num_threads() != 2) return 1;
      std::atomic<int> arrived{0};
      executor().run(2, 2, [&](int, int) {
        ++arrived;
        await(arrived, 2);
      });
      set_num_threads(3);
      return num_threads() == 3 && executor().max_workers() == 3 ? 0 : 2;
    });
    EXPECT_EQ(status, 0);
  }
  release = 1;
  other.join();
}

TEST_F(ThreadsAfterFork, ChildThatExitsEndsItsWorkers) {
  set_num_threads(2);
  executor().run(4, 2, [](int, int) {});
  EXPECT_EQ(status_of_child(20,
                            [] {
                              executor().run(4, 2, [](int, int) {});
                              std::exit(7);
                              return 0;
                            }),
            7);
}

TEST(DefaultExecutor, SetNumThreads) {
  for (const int threads : {1, 4, 2, 7, 2}) {
    set_num_threads(threads);
    EXPECT_EQ(num_threads(), threads);
    EXPECT_EQ(executor().max_workers(), threads);
    std::atomic<int> items{0};
    executor().run(33, threads, [&](int, int) { ++items; });
    EXPECT_EQ(items, 33);
  }
  EXPECT_THROW(set_num_threads(0), Error);
  EXPECT_THROW(set_num_threads(1025), Error);
  EXPECT_EQ(num_threads(), 2);
}

TEST(DefaultExecutor, IsReplaceable) {
  struct Serial final : Executor {
    int max_workers() const override { return 1; }
    void run(int items, int, FunctionRef<void(int, int)> body) override {
      for (int item = items - 1; item >= 0; --item) body(item, 0);
    }
  } serial;
  set_executor(&serial);
  std::vector<int> order;
  executor().run(3, 8, [&](int item, int) { order.push_back(item); });
  set_executor(nullptr);
  EXPECT_EQ(order, (std::vector<int>{2, 1, 0}));
  EXPECT_NE(&executor(), &serial);
}

constexpr int kProbeError = 99;

int probe(const std::string& name) try {
  if (name == "threads") return executor().max_workers();
  if (name == "cpus") return static_cast<int>(cpu::process_cpus().size());
  if (name == "end") executor().run(8, 8, [](int, int) {});
  if (name == "exit_on_worker" || name == "exit_on_caller") {
    const int exits = name == "exit_on_worker" ? 1 : 0;
    std::atomic<int> arrived{0};
    executor().run(2, 2, [&](int, int worker) {
      ++arrived;
      await(arrived, 2);
      if (worker == exits) std::exit(9);
    });
  }
  return 0;
} catch (const Error& error) {
  const bool names_variable = std::string(error.what()).find("STROBE_") != std::string::npos;
  return names_variable && error.kind() == ErrorKind::kInvalidArgument ? kProbeError : 98;
}

class Environment : public testing::Test {
 protected:
  void SetUp() override {
    if (status_of_probe("nothing", {}) == kEmulated)
      GTEST_SKIP() << "an emulator's child cannot start itself";
  }
};

TEST_F(Environment, NumThreads) {
  EXPECT_EQ(status_of_probe("threads", {"STROBE_NUM_THREADS=5"}), 5);
  EXPECT_EQ(status_of_probe("threads", {"STROBE_NUM_THREADS="}),
            static_cast<int>(cpu::process_cpus().size()));
  for (const char* value : {"0", "1025", "-1", "2x", "two", " 2", "99999999999"})
    EXPECT_EQ(status_of_probe("threads", {"STROBE_NUM_THREADS=" + std::string(value)}), kProbeError) << value;
}

TEST_F(Environment, SpinUs) {
  EXPECT_EQ(status_of_probe("threads", {"STROBE_NUM_THREADS=3", "STROBE_SPIN_US=0"}), 3);
  for (const char* value : {"-1", "1.5", "1000001", "x"})
    EXPECT_EQ(status_of_probe("threads", {"STROBE_SPIN_US=" + std::string(value)}), kProbeError) << value;
}

TEST_F(Environment, ProcessEndsWithWorkersAsleepOrAwake) {
  for (const char* spin : {"0", "1000000"})
    EXPECT_EQ(status_of_probe("end", {"STROBE_NUM_THREADS=8", "STROBE_SPIN_US=" + std::string(spin)}), 0);
}

TEST_F(Environment, ExitFromABodyDoesNotHang) {
  for (const char* where : {"exit_on_worker", "exit_on_caller"})
    EXPECT_EQ(status_of_probe(where, {"STROBE_NUM_THREADS=2"}), 9) << where;
}

TEST_F(Environment, ProcessCpusRespectTaskset) {
  EXPECT_EQ(status_of_probe("cpus", {}, {cpu::process_cpus().back()}), 1);
  EXPECT_EQ(status_of_probe("threads", {}, {cpu::process_cpus().back()}), 1);
}

TEST_F(Environment, ProcessCpusUndoAnOpenMpBinding) {
  const int all = static_cast<int>(cpu::process_cpus().size());
  EXPECT_EQ(status_of_probe("cpus", {"OMP_PROC_BIND=true"}, {cpu::process_cpus().front()}), all);
}

class Affinity : public testing::Test {
 protected:
  void SetUp() override {
    if (cpu::process_cpus().size() < 2) GTEST_SKIP() << "one CPU";
    before_ = cpu::affinity();
  }
  void TearDown() override {
    if (!before_.empty()) cpu::set_affinity(before_);
  }
  std::vector<int> before_;
};

TEST_F(Affinity, WorkersDoNotInheritAPinnedCaller) {
  const std::vector<int> first = {cpu::process_cpus().front()};
  ASSERT_TRUE(cpu::set_affinity(first));
  ThreadPool pool(2, kSpin);
  ASSERT_EQ(cpu::affinity(), first);
  for (const pid_t worker : pool.worker_ids()) EXPECT_EQ(cpu::affinity(worker), cpu::process_cpus());
}

TEST_F(Affinity, ScopedPinPinsAndRestores) {
  const std::vector<int>& cpus = cpu::process_cpus();
  ThreadPool pool(3, kSpin);
  const std::vector<pid_t> workers = pool.worker_ids();
  {
    const cpu::ScopedPin pin(pool);
    EXPECT_EQ(cpu::affinity(), std::vector<int>{cpus[0]});
    EXPECT_EQ(cpu::affinity(workers[0]), std::vector<int>{cpus[1]});
    EXPECT_EQ(cpu::affinity(workers[1]), std::vector<int>{cpus[2 % cpus.size()]});
  }
  EXPECT_EQ(cpu::affinity(), before_);
  for (const pid_t worker : workers) EXPECT_EQ(cpu::affinity(worker), cpus);
}

}  // namespace
}  // namespace strobe

int main(int argc, char** argv) {
  if (argc == 3 && std::string(argv[1]) == "probe") return strobe::probe(argv[2]);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
