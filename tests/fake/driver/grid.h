// Runs the blocks of a kernel, and finds what they may not do.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <random>
#include <string>
#include <vector>

#include "../device/machine.h"
#include "error.h"
#include "fiber.h"
#include "memory.h"

namespace emulated {

struct Range {
  std::uintptr_t begin = 0, bytes = 0;
  bool holds(std::uintptr_t address) const { return address - begin < bytes; }
};

// A kernel of a loaded library.
struct Code {
  const Entry* entry = nullptr;
  Machine** machine = nullptr;
  Range image;             // of the module
  std::size_t tls_module;  // its thread-local block is the static shared memory; 0: there is none
  std::size_t static_shared_bytes = 0;
};

struct GridRequest {
  Code code;
  int device = 0;
  Index3 grid, block;
  std::size_t dynamic_shared_bytes = 0;
  bool may_begin_early = false;  // programmatic dependent launch
  std::string params;            // their bytes
};

struct Fault {
  Result result = kSuccess;
  std::string text;
};

// One block runs at a time, one thread at a time; which is next is random, by EMULATED_SEED. A thread runs
// until it waits for others. Not for use by several threads at once.
class Grid {
 public:
  static Grid& instance();
  Fault run(const GridRequest& request);

 private:
  struct Copy {
    std::uintptr_t shared, global, bytes;  // global 0: zeros
  };
  enum class State { kRunnable, kAtBarrier, kMeeting, kEnded };
  struct Thread {
    State state;
    bool has_waited;  // for the kernel before
    unsigned lanes;   // that it meets
    void* given;
    void (*act)(void* const*);
    std::vector<Copy> copies;              // since the last group
    std::deque<std::vector<Copy>> groups;  // under way
  };

  Grid();
  static void thread_body();
  void prepare_shared();
  bool run_block(std::uint32_t linear);
  Fault diverged() const;

  void access(std::uintptr_t address, std::size_t bytes, std::size_t alignment, bool write);
  void access_global(const Allocation& allocation, std::uintptr_t address, std::size_t bytes, bool write);
  void access_shared(std::size_t offset, std::size_t bytes, bool write);
  // Of an address in shared memory, the index of its cell; -1 elsewhere.
  std::ptrdiff_t shared_offset(std::uintptr_t address, std::size_t bytes);
  void wait_for_block();
  void meet(unsigned lanes, void* given, void (*act)(void* const*));
  void sync_warp();
  void copy_async(std::uintptr_t shared, std::uintptr_t global, std::size_t bytes);
  void wait_for_copies(std::size_t groups);

  Thread& current() { return threads_[static_cast<std::size_t>(fibers_.current())]; }
  Access now() const {
    const auto thread = static_cast<std::uint16_t>(fibers_.current());
    return {run_, thread, epoch_, warp_epochs_[thread / kWarpThreads]};
  }
  void make_runnable(int thread);
  std::string describe(const Access& access) const;
  [[noreturn]] void fail(Result result, const std::string& text);

  Fibers fibers_;
  Machine machine_{};
  std::minstd_rand random_;
  GridRequest request_;
  Fault fault_;

  std::vector<Thread> threads_;
  std::vector<int> runnable_;
  int at_barrier_ = 0, ended_ = 0, thread_count_ = 0;
  std::uint16_t epoch_ = 0;
  std::array<std::uint16_t, kMostThreads / kWarpThreads> warp_epochs_{};

  std::vector<std::uint32_t> order_;  // of blocks: order_[i] is the linear index of the grid's i-th run
  std::uint32_t first_run_ = 1, run_ = 1;

  Range static_shared_, dynamic_shared_;
  char* dynamic_pages_ = nullptr;
  std::vector<Cell> shared_cells_;         // static, then dynamic
  std::vector<unsigned char> under_copy_;  // of each byte: asynchronous copies to it under way
  const Allocation* last_allocation_ = nullptr;
};

}  // namespace emulated
