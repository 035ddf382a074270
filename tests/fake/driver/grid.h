// Runs the blocks of a kernel, and finds what they may not do.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "../device/machine.h"
#include "error.h"
#include "fiber.h"
#include "memory.h"

namespace emulated {

inline constexpr std::size_t kReadersBytes = 4;  // that share the memory of their readers
inline constexpr std::uint16_t kUnknownFences =
    0xffff;  // of a writer that needs none, or before anybody counts

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
  std::size_t static_shared_bytes = 0, shared_alignment = 0;
};

struct GridRequest {
  Code code;
  int device = 0;
  Index3 grid, block;
  unsigned cluster = 1;  // blocks of one, along x
  std::size_t dynamic_shared_bytes = 0;
  bool may_begin_early = false;  // programmatic dependent launch
  std::string params;            // their bytes
};

struct Fault {
  Result result = kSuccess;
  std::string text;
};

// One cluster of blocks (a block, where there are none) runs at a time, one thread at a time; which is next
// is random, by EMULATED_SEED. A thread runs until it waits for others. Not for use by several threads at
// once.
class Grid {
 public:
  static Grid& instance();
  Fault run(const GridRequest& request);

 private:
  struct Copy {
    std::uintptr_t shared, global, bytes;  // global 0: zeros
  };
  enum class State { kRunnable, kAtBarrier, kAtClusterBarrier, kAtNamedBarrier, kAtPhase, kMeeting, kEnded };
  struct BoxStore {
    TensorMapContent map;
    std::uintptr_t shared;
    int at[5];
  };
  struct Thread {
    State state;
    bool has_waited;  // for the kernel before
    unsigned lanes;   // that it meets
    void* given;
    void (*act)(void* const*);
    std::vector<Copy> copies;              // since the last group
    std::deque<std::vector<Copy>> groups;  // under way
    std::size_t barrier;                   // kAtPhase: the cell of the mbarrier it waits at
    unsigned parity;
    bool shall_land;                // kAtPhase: a copy to that barrier arrives now
    std::vector<BoxStore> stores;   // since the last group
    std::vector<BoxStore> storing;  // of groups, under way
    std::uint16_t async_fences;     // how often it has ordered its writes before asynchronous work
    bool begun;                     // begin_products() without end_products() since
    std::vector<Product> products;  // since the last group
    std::deque<std::vector<Product>> product_groups;  // under way
    std::size_t groups_wanted;                        // that may stay under way
  };
  // An mbarrier.
  struct PhaseBarrier {
    unsigned arrivals;  // of a phase
    unsigned missing;
    long bytes;  // announced and not yet come
    unsigned phase;
    bool is_published;
    int initialised_by;
    Order::Clocks arrived, ended;  // what those know who arrived up to now; up to the last phase's end
  };
  // The copy of a box to shared memory, not yet made.
  struct BoxCopy {
    TensorMapContent map;
    std::uintptr_t shared;
    std::size_t barrier;
    int at[5];
  };
  struct NamedBarrier {
    int threads;
    std::vector<int> waiting;
  };
  // A block of the cluster that runs.
  struct Block {
    Index3 index;
    char* dynamic_shared;
    int at_barrier;
    std::uint16_t epoch;  // the number of its last barrier
  };

  Grid();
  static void thread_body();
  void prepare_shared();
  bool run_cluster(std::uint32_t first_block);
  void enter(int thread);
  Fault diverged() const;

  void access(std::uintptr_t address, std::size_t bytes, std::size_t alignment, bool write);
  void access_by(const Now& now, std::uintptr_t address, std::size_t bytes, std::size_t alignment,
                 bool write);
  void access_global(const Now& now, const Allocation& allocation, std::uintptr_t address, std::size_t bytes,
                     bool write);
  void access_shared(const Now& now, std::size_t offset, std::size_t bytes, bool write);
  void atomic(std::uintptr_t address, std::size_t bytes);
  void release_acquire(std::uintptr_t address);
  // Of an address in shared memory, the index of its cell; -1 elsewhere.
  std::ptrdiff_t shared_offset(std::uintptr_t address, std::size_t bytes);
  void wait_for_block();
  void wait_for_cluster();
  const void* of_rank(std::uintptr_t shared, unsigned rank);
  void meet(unsigned lanes, void* given, void (*act)(void* const*));
  void sync_warp();
  void copy_async(std::uintptr_t shared, std::uintptr_t global, std::size_t bytes);
  void wait_for_copies(std::size_t groups);

  // grid_barriers.cc
  static void bind_barriers(Machine& machine);
  void use_order();
  void init_barrier(std::uintptr_t address, unsigned arrivals);
  PhaseBarrier& barrier_at(std::uintptr_t address);
  void arrive(std::uintptr_t address, unsigned bytes);
  void wait_for_phase(std::uintptr_t address, unsigned parity);
  void end_phase_if_complete(std::size_t barrier);
  bool wake_for_copy();
  void sync_threads(int number, int threads);
  void release();
  std::string describe_waits() const;
  std::string describe_phase(std::size_t barrier, unsigned parity) const;

  // grid_boxes.cc
  static void bind_boxes(Machine& machine);
  TensorMapContent map_of(const void* map);
  void copy_box(std::uintptr_t shared, const void* map, std::uintptr_t barrier, const int* at);
  void land_copy(std::size_t barrier);
  void store_box(const void* map, std::uintptr_t shared, const int* at);
  void finish_stores();

  // grid_products.cc
  static void bind_products(Machine& machine);
  void multiply(const Product& product);
  void wait_for_products(std::size_t groups);
  void finish_group(void* const* lanes);
  void compute(const Product* const* lanes, unsigned warp);
  void read_rows(const Product& product, unsigned warp, float (*a)[32], float (*b)[256]);
  void check_sums(const Thread& thread, std::uintptr_t address, std::size_t bytes);
  // Fails unless the tensor cores or the copy engine may read shared memory there.
  void read_async(std::uintptr_t address, std::size_t bytes);

  void check_end();
  Thread& current() { return threads_[static_cast<std::size_t>(fibers_.current())]; }
  unsigned current_rank() const { return static_cast<unsigned>(fibers_.current() / block_threads_); }
  Block& current_block() { return blocks_[current_rank()]; }
  Now now() {
    const auto thread = static_cast<std::uint16_t>(fibers_.current());
    const std::size_t warp = thread / kWarpThreads;
    const Access access{run_, thread, current_block().epoch, warp_epochs_[warp], order_.clock(warp)};
    return {access,
            access,
            current_rank(),
            static_cast<unsigned>(block_threads_),
            cluster_epoch_,
            &acquired_,
            has_order_ ? &order_ : nullptr,
            nullptr};
  }
  void make_runnable(int thread);
  static std::size_t warp_of_thread(int thread) { return static_cast<std::size_t>(thread) / kWarpThreads; }
  std::size_t current_warp() const { return warp_of_thread(fibers_.current()); }
  std::string describe(const Access& access) const;
  [[noreturn]] void fail(Result result, const std::string& text);

  Fibers fibers_;
  Machine machine_{};
  std::minstd_rand random_;
  GridRequest request_;
  Fault fault_;

  std::vector<Thread> threads_;
  std::vector<int> runnable_;
  std::vector<Block> blocks_;
  int at_cluster_barrier_ = 0, ended_ = 0;
  int block_threads_ = 0, thread_count_ = 0;        // of a block, of the cluster
  std::uint16_t barriers_ = 0, cluster_epoch_ = 0;  // how many there were; the number of the cluster's last
  std::vector<std::uint16_t> warp_epochs_;          // barriers that each warp of the cluster has passed

  std::map<std::uintptr_t, std::set<Access>> released_;  // of the grid, by the address they went through
  std::vector<Acquired> acquired_;                       // of the block that runs

  std::vector<std::uint32_t> sequence_;  // [i] is the first block, by its linear index, of the i-th run
  std::uint32_t first_run_ = 1, run_ = 1;

  Range static_shared_, dynamic_shared_;  // the latter of the block of rank 0
  char* dynamic_pages_ = nullptr;
  std::vector<Cell> shared_cells_;         // static, then each block's dynamic
  std::vector<unsigned char> under_copy_;  // of each byte: asynchronous copies to it under way
  // Where barriers beside the block's are in use (has_order_): what they order; of every 4 bytes of shared
  // memory, a row of the warps' last reads since the last write; of every byte, how many fences its writer
  // had behind it.
  bool has_order_ = false;
  Order order_;
  std::vector<std::uint16_t> readers_, writer_fences_;
  std::map<std::size_t, PhaseBarrier> phase_barriers_;  // by their cells
  std::map<int, NamedBarrier> named_barriers_;
  std::vector<BoxCopy> box_copies_;
  const Allocation* last_allocation_ = nullptr;
};

}  // namespace emulated
