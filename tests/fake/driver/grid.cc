#include "grid.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "strobe/dtype.h"

// Of the C library: where the calling thread's block of a module's thread-local variables lies.
struct TlsIndex {
  unsigned long module, offset;
};
extern "C" void* __tls_get_addr(TlsIndex*);

namespace emulated {
namespace {

constexpr std::size_t kMostDynamicShared = 256 * 1024;
constexpr std::size_t kBlockPitch = kMostDynamicShared + 4096;  // from one block's to the next one's
constexpr unsigned char kUnwritten = 0xff;                      // NaN, or -1

unsigned narrow(float value, int dtype) {
  using namespace strobe;
  constexpr unsigned kNan16 = 0x7fff;  // what the GPU's instructions make of every NaN
  switch (static_cast<Dtype>(dtype)) {
    case Dtype::kF16:
      return value != value ? kNan16 : F16(value).bits;
    case Dtype::kBf16:
      return value != value ? kNan16 : Bf16(value).bits;
    case Dtype::kE4m3:
      return E4m3(value).bits;
    case Dtype::kE5m2:
      return E5m2(value).bits;
    default:
      std::abort();
  }
}

template <class Storage>
float value_of(unsigned bits) {
  Storage storage;
  storage.bits = static_cast<decltype(storage.bits)>(bits);
  return static_cast<float>(storage);
}

float widen(unsigned bits, int dtype) {
  using namespace strobe;
  switch (static_cast<Dtype>(dtype)) {
    case Dtype::kF16:
      return value_of<F16>(bits);
    case Dtype::kBf16:
      return value_of<Bf16>(bits);
    case Dtype::kE4m3:
      return value_of<E4m3>(bits);
    case Dtype::kE5m2:
      return value_of<E5m2>(bits);
    default:
      std::abort();
  }
}

std::string text_of(const Index3& index) {
  return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " + std::to_string(index.z) +
         ")";
}

Index3 index_of(std::uint32_t linear, const Index3& size) {
  return {linear % size.x, linear / size.x % size.y, linear / size.x / size.y};
}

std::string phrase(bool write, std::size_t bytes) {
  return std::string(write ? "writes " : "reads ") + std::to_string(bytes) + " bytes ";
}

}  // namespace

Grid& Grid::instance() {
  static Grid& grid = *new Grid;
  return grid;
}

Grid::Grid() : fibers_(thread_body) {
  const char* seed = std::getenv("EMULATED_SEED");
  random_.seed(seed != nullptr ? static_cast<unsigned>(std::atoi(seed)) : 1);
  machine_.access = [](const void* address, unsigned long bytes, unsigned long alignment, bool write) {
    instance().access(reinterpret_cast<std::uintptr_t>(address), bytes, alignment, write);
  };
  machine_.atomic = [](const void* address, unsigned long bytes) {
    instance().atomic(reinterpret_cast<std::uintptr_t>(address), bytes);
  };
  machine_.release_acquire = [](const void* address) {
    instance().release_acquire(reinterpret_cast<std::uintptr_t>(address));
  };
  machine_.access_settled = [](const void* address, unsigned long bytes) {
    bool& has_waited = instance().current().has_waited;
    const bool before = std::exchange(has_waited, true);
    instance().access(reinterpret_cast<std::uintptr_t>(address), bytes, bytes, false);
    has_waited = before;
  };
  machine_.wait_for_block = [] { instance().wait_for_block(); };
  machine_.wait_for_cluster = [] { instance().wait_for_cluster(); };
  machine_.of_rank = [](const void* shared, unsigned rank) {
    return instance().of_rank(reinterpret_cast<std::uintptr_t>(shared), rank);
  };
  machine_.meet = [](unsigned lanes, void* given, void (*act)(void* const*)) {
    instance().meet(lanes, given, act);
  };
  machine_.sync_warp = [] { instance().sync_warp(); };
  machine_.fail = [](const char* what) { instance().fail(kLaunchFailed, what); };
  machine_.copy_async = [](void* shared, const void* global, unsigned long bytes) {
    instance().copy_async(reinterpret_cast<std::uintptr_t>(shared), reinterpret_cast<std::uintptr_t>(global),
                          bytes);
  };
  machine_.end_copy_group = [] {
    Thread& thread = instance().current();
    thread.groups.push_back(std::exchange(thread.copies, {}));
  };
  machine_.wait_for_copies = [](int groups) { instance().wait_for_copies(static_cast<std::size_t>(groups)); };
  machine_.wait_for_kernel_before = [] { instance().current().has_waited = true; };
  bind_barriers(machine_);
  bind_boxes(machine_);
  bind_products(machine_);
  machine_.narrow = narrow;
  machine_.widen = widen;
  // The page after the last byte that a block may have cannot be touched.
  dynamic_pages_ = static_cast<char*>(::mmap(nullptr, kLargestCluster * kBlockPitch, PROT_READ | PROT_WRITE,
                                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (dynamic_pages_ == MAP_FAILED) std::abort();
  for (std::size_t block = 0; block < kLargestCluster; ++block)
    ::mprotect(dynamic_pages_ + block * kBlockPitch + kMostDynamicShared, 4096, PROT_NONE);
}

void Grid::thread_body() {
  for (;;) {
    Grid& grid = instance();
    grid.request_.code.entry->call(grid.request_.params.data());
    grid.check_end();
    grid.current().state = State::kEnded;
    ++grid.ended_;
    grid.fibers_.leave();
  }
}

Fault Grid::run(const GridRequest& request) {
  request_ = request;
  fault_ = {};
  last_allocation_ = nullptr;
  *request.code.machine = &machine_;
  machine_.grid_dim = request.grid;
  machine_.block_dim = request.block;
  block_threads_ = static_cast<int>(request.block.x * request.block.y * request.block.z);
  thread_count_ = block_threads_ * static_cast<int>(request.cluster);
  threads_.resize(static_cast<std::size_t>(thread_count_));
  fibers_.grow(thread_count_);
  prepare_shared();
  sequence_.clear();
  for (std::uint32_t block = 0; block < request.grid.x * request.grid.y * request.grid.z;
       block += request.cluster)
    sequence_.push_back(block);
  std::shuffle(sequence_.begin(), sequence_.end(), random_);
  first_run_ = run_;
  released_.clear();
  for (const std::uint32_t block : sequence_) {
    if (!run_cluster(block)) break;
    ++run_;
  }
  if (fault_.result != kSuccess) fault_.text = std::string(request.code.entry->name) + ": " + fault_.text;
  return fault_;
}

// The shared memory of this thread of the host, which runs all blocks of the grid: the static part by the
// language's rules, the dynamic parts of a cluster's blocks kBlockPitch apart.
void Grid::prepare_shared() {
  static_shared_ = {0, request_.code.static_shared_bytes};
  if (request_.code.tls_module != 0) {
    TlsIndex index{request_.code.tls_module, 0};
    static_shared_.begin = reinterpret_cast<std::uintptr_t>(__tls_get_addr(&index));
  }
  const std::size_t alignment = request_.code.shared_alignment;
  const std::size_t bytes = (request_.dynamic_shared_bytes + alignment - 1) / alignment * alignment;
  dynamic_shared_ = {reinterpret_cast<std::uintptr_t>(dynamic_pages_ + kMostDynamicShared - bytes),
                     request_.dynamic_shared_bytes};
  shared_cells_.resize(static_shared_.bytes + request_.cluster * dynamic_shared_.bytes);
  under_copy_.resize(shared_cells_.size());
}

bool Grid::run_cluster(std::uint32_t first_block) {
  blocks_.clear();
  for (std::uint32_t rank = 0; rank < request_.cluster; ++rank) {
    char* dynamic = reinterpret_cast<char*>(dynamic_shared_.begin) + rank * kBlockPitch;
    blocks_.push_back({.index = index_of(first_block + rank, request_.grid), .dynamic_shared = dynamic});
    if (dynamic_shared_.bytes > 0) std::memset(dynamic, kUnwritten, dynamic_shared_.bytes);
  }
  if (static_shared_.bytes > 0)
    std::memset(reinterpret_cast<void*>(static_shared_.begin), kUnwritten, static_shared_.bytes);
  std::fill(under_copy_.begin(), under_copy_.end(), 0);
  at_cluster_barrier_ = ended_ = barriers_ = cluster_epoch_ = 0;
  const std::size_t warps = static_cast<std::size_t>(thread_count_) / kWarpThreads + 1;
  warp_epochs_.assign(warps, 0);
  order_.reset(warps);
  has_order_ = false;
  phase_barriers_.clear();
  named_barriers_.clear();
  box_copies_.clear();
  acquired_.clear();
  runnable_.clear();
  for (int i = 0; i < thread_count_; ++i) {
    threads_[static_cast<std::size_t>(i)] = {};
    make_runnable(i);
  }
  while (!runnable_.empty() || wake_for_copy()) {
    const std::size_t pick = random_() % runnable_.size();
    const int thread = std::exchange(runnable_[pick], runnable_.back());
    runnable_.pop_back();
    enter(thread);
    if (!fibers_.run(thread)) return false;
  }
  if (ended_ == thread_count_ && box_copies_.empty()) return true;
  fault_ = ended_ == thread_count_
               ? Fault{kLaunchFailed, "block " + text_of(blocks_[0].index) +
                                          " has ended while a copy to its shared memory is under way"}
               : diverged();
  return false;
}

// What the thread's code will ask for.
void Grid::enter(int thread) {
  const auto rank = static_cast<unsigned>(thread / block_threads_);
  machine_.thread = index_of(static_cast<std::uint32_t>(thread % block_threads_), request_.block);
  machine_.block = blocks_[rank].index;
  machine_.dynamic_shared = blocks_[rank].dynamic_shared;
  machine_.cluster_rank = rank;
}

void Grid::make_runnable(int thread) {
  threads_[static_cast<std::size_t>(thread)].state = State::kRunnable;
  runnable_.push_back(thread);
}

// On a GPU this would hang, or go on with what the others have not yet done.
Fault Grid::diverged() const {
  std::size_t waiting = 0;
  while (threads_[waiting].state == State::kEnded) ++waiting;
  const auto threads = static_cast<std::size_t>(block_threads_);
  const Block& block = blocks_[waiting / threads];
  const State state = threads_[waiting].state;
  if (state == State::kAtPhase)
    return {kLaunchFailed, "block " + text_of(block.index) + " hangs: " + describe_waits()};
  const char* what = state == State::kAtBarrier          ? " waits at a barrier"
                     : state == State::kAtNamedBarrier   ? " waits at a barrier of some warps"
                     : state == State::kAtClusterBarrier ? " waits for its cluster"
                                                         : " waits for its warp";
  return {kLaunchFailed,
          "block " + text_of(block.index) + " diverged: thread " + std::to_string(waiting % threads) + what +
              ", " + std::to_string(block.at_barrier + at_cluster_barrier_) + " of " +
              std::to_string(state == State::kAtClusterBarrier ? thread_count_ : block_threads_) +
              " threads are at the barrier, " + std::to_string(ended_) + " have ended"};
}

std::string Grid::describe(const Access& access) const {
  if (access.thread == kCopyEngine) return "a copy";
  if (access.epoch == kManyClusters || access.thread == kManyBlocks) return "threads of several blocks";
  const auto threads = static_cast<unsigned>(block_threads_);
  const int warp = warp_of(access.thread);
  const unsigned rank =
      warp < 0 ? access.thread & 0xffu : static_cast<unsigned>(warp) * kWarpThreads / threads;
  std::string text =
      access.thread >= kManyOfWarp ? "several threads" : "thread " + std::to_string(access.thread % threads);
  if (access.run != run_ || blocks_.size() > 1)
    text += " of block " + text_of(index_of(sequence_[access.run - first_run_] + rank, request_.grid));
  return text;
}

void Grid::fail(Result result, const std::string& text) {
  fault_ = {result, "block " + text_of(machine_.block) + ", thread " +
                        std::to_string(fibers_.current() % block_threads_) + ": " + text};
  fibers_.abandon();
}

std::ptrdiff_t Grid::shared_offset(std::uintptr_t address, std::size_t bytes) {
  const bool is_static = static_shared_.holds(address);
  const std::uintptr_t rank = is_static ? 0 : (address - dynamic_shared_.begin) / kBlockPitch;
  Range shared = is_static ? static_shared_ : dynamic_shared_;
  if (rank < blocks_.size()) shared.begin += rank * kBlockPitch;
  if (!shared.holds(address)) return -1;
  const std::uintptr_t offset = address - shared.begin;
  if (bytes > shared.bytes - offset)
    fail(kIllegalAddress, std::to_string(bytes) + " bytes go beyond the end of shared memory");
  return static_cast<std::ptrdiff_t>(offset +
                                     (is_static ? 0 : static_shared_.bytes + rank * dynamic_shared_.bytes));
}

// The other block has begun and not ended: a kernel says so by barriers of the cluster.
const void* Grid::of_rank(std::uintptr_t shared, unsigned rank) {
  const std::ptrdiff_t offset = shared_offset(shared, 1);
  if (offset < 0 || rank >= blocks_.size())
    fail(kIllegalAddress, "asks for what is no shared memory of block " + std::to_string(rank) + " of " +
                              std::to_string(blocks_.size()) + " of its cluster");
  const auto first = static_cast<std::size_t>(rank) * static_cast<std::size_t>(block_threads_);
  for (std::size_t thread = first; thread < first + static_cast<std::size_t>(block_threads_); ++thread)
    if (threads_[thread].state == State::kEnded)
      fail(kLaunchFailed, "asks for shared memory of a block of its cluster that may have ended");
  return blocks_[rank].dynamic_shared +
         (shared - reinterpret_cast<std::uintptr_t>(current_block().dynamic_shared));
}

void Grid::access(std::uintptr_t address, std::size_t bytes, std::size_t alignment, bool write) {
  access_by(now(), address, bytes, alignment, write);
}

void Grid::atomic(std::uintptr_t address, std::size_t bytes) {
  Now now = this->now();
  now.access.thread = static_cast<std::uint16_t>(kAtomics + now.block);
  for (const bool write : {false, true}) access_by(now, address, bytes, bytes, write);
}

// Those who come later through the same address acquire what this thread has released there, and what it has
// acquired itself.
void Grid::release_acquire(std::uintptr_t address) {
  const Access self = now().self;
  if (request_.cluster > 1) fail(kLaunchFailed, "orders blocks of clusters, which is not emulated");
  std::set<Access>& released = released_[address];
  for (const Access& access : released) acquired_.push_back({access, self});
  for (const Acquired& acquired : acquired_)
    if (precedes(acquired.by, self)) released.insert(acquired.released);
  released.insert(self);
}

void Grid::access_by(const Now& now, std::uintptr_t address, std::size_t bytes, std::size_t alignment,
                     bool write) {
  if (fibers_.is_own_stack(address)) return check_sums(current(), address, bytes);
  if (address % alignment != 0)
    fail(kMisalignedAddress, phrase(write, bytes) + describe_address(address) + ", which is no multiple of " +
                                 std::to_string(alignment));
  if (const std::ptrdiff_t offset = shared_offset(address, bytes); offset >= 0) {
    access_shared(now, static_cast<std::size_t>(offset), bytes, write);
    return;
  }
  if (last_allocation_ == nullptr || address < last_allocation_->begin || address >= last_allocation_->end)
    last_allocation_ = find_allocation(address);
  if (last_allocation_ != nullptr) return access_global(now, *last_allocation_, address, bytes, write);
  if (!write && request_.code.image.holds(address)) return;  // constants
  fail(kIllegalAddress, phrase(write, bytes) + describe_address(address));
}

void Grid::access_global(const Now& now, const Allocation& allocation, std::uintptr_t address,
                         std::size_t bytes, bool write) {
  const auto fail_with = [&](Result result, const std::string& why) {
    fail(result, phrase(write, bytes) + describe_address(address) + why);
  };
  if (bytes > allocation.end - address) fail_with(kIllegalAddress, "");
  if (allocation.device != request_.device) fail_with(kIllegalAddress, " of another device");
  if (request_.may_begin_early && !current().has_waited)
    fail_with(kLaunchFailed, " before it waits for the kernel before");
  for (std::size_t i = 0; i < bytes; ++i)
    if (const Access* other = race(allocation.cells[address - allocation.begin + i], now, first_run_, write);
        other != nullptr)
      fail_with(kLaunchFailed, ", which " + describe(*other) + " touches with nothing to order the two");
}

void Grid::access_shared(const Now& now, std::size_t offset, std::size_t bytes, bool write) {
  const auto fail_with = [&](const std::string& why) {
    fail(kLaunchFailed,
         phrase(write, bytes) + "at byte " + std::to_string(offset) + " of shared memory, which " + why);
  };
  const std::size_t warp = now.access.thread / kWarpThreads, row = order_.engine();
  Now here = now;
  for (std::size_t i = offset; i < offset + bytes; ++i) {
    Cell& cell = shared_cells_[i];
    std::uint16_t* readers = has_order_ ? &readers_[i / kReadersBytes * row] : nullptr;
    here.readers = readers;
    if (under_copy_[i] != 0) fail_with("an asynchronous copy writes that nobody has waited for");
    if (const Access* other = race(cell, here, run_, write); other != nullptr)
      fail_with(describe(*other) + " touches with no barrier between");
    if (!write && cell.write.run != run_) fail_with("nobody has written");
    if (readers == nullptr) continue;
    if (write) {
      std::fill(readers, readers + row, 0);
      writer_fences_[i] = current().async_fences;
    } else {
      readers[warp] = static_cast<std::uint16_t>(now.access.clock + 1);
    }
  }
}

void Grid::wait_for_block() {
  Block& block = current_block();
  if (++block.at_barrier < block_threads_) {
    current().state = State::kAtBarrier;
    fibers_.leave();
    return;
  }
  block.at_barrier = 0;
  block.epoch = ++barriers_;
  const int first = static_cast<int>(current_rank()) * block_threads_;
  order_.meet(warp_of_thread(first), warp_of_thread(block_threads_ - 1) + 1);
  for (int i = first; i < first + block_threads_; ++i)
    if (i != fibers_.current()) make_runnable(i);
}

void Grid::wait_for_cluster() {
  if (++at_cluster_barrier_ < thread_count_) {
    current().state = State::kAtClusterBarrier;
    fibers_.leave();
    return;
  }
  at_cluster_barrier_ = 0;
  cluster_epoch_ = ++barriers_;
  for (Block& block : blocks_) block.epoch = cluster_epoch_;
  order_.meet(0, warp_of_thread(thread_count_ - 1) + 1);
  for (int i = 0; i < thread_count_; ++i)
    if (i != fibers_.current()) make_runnable(i);
}

void Grid::meet(unsigned lanes, void* given, void (*act)(void* const*)) {
  const auto self = static_cast<unsigned>(fibers_.current());
  const auto of_block = self % static_cast<unsigned>(block_threads_);
  const unsigned lane = of_block % kWarpThreads, warp = self - lane;
  const auto of_lane = [&](unsigned l) -> Thread& { return threads_[warp + l]; };
  const auto takes_part = [&](unsigned l) { return (lanes >> l & 1) != 0; };
  if (!takes_part(lane)) fail(kLaunchFailed, "acts together with lanes it is not one of");
  Thread& thread = current();
  thread.state = State::kMeeting;
  thread.lanes = lanes;
  thread.given = given;
  thread.act = act;
  void* of_lanes[kWarpThreads] = {};
  for (unsigned l = 0; l < kWarpThreads; ++l) {
    if (!takes_part(l)) continue;
    if (of_block - lane + l >= static_cast<unsigned>(block_threads_) || of_lane(l).state == State::kEnded)
      fail(kLaunchFailed, "acts together with lane " + std::to_string(l) + ", which has ended");
    if (of_lane(l).state != State::kMeeting) return fibers_.leave();
    if (of_lane(l).lanes != lanes || of_lane(l).act != act)
      fail(kLaunchFailed, "lanes of a warp disagree on what they do together, or who");
    of_lanes[l] = of_lane(l).given;
  }
  act(of_lanes);
  for (unsigned l = 0; l < kWarpThreads; ++l)
    if (takes_part(l) && l != lane) make_runnable(static_cast<int>(warp + l));
  thread.state = State::kRunnable;
}

void Grid::sync_warp() {
  constexpr unsigned kAllLanes = 0xffffffff;
  std::uint16_t& epoch = warp_epochs_[static_cast<std::size_t>(fibers_.current()) / kWarpThreads];
  meet(kAllLanes, &epoch, [](void* const* of_lanes) { ++*static_cast<std::uint16_t*>(of_lanes[0]); });
}

void Grid::copy_async(std::uintptr_t shared, std::uintptr_t global, std::size_t bytes) {
  if (bytes != 4 && bytes != 8 && bytes != 16)
    fail(kLaunchFailed,
         "copies " + std::to_string(bytes) + " bytes asynchronously: 4, 8 and 16 are possible");
  if (global != 0) {
    access(global, bytes, bytes, false);
    if (find_allocation(global) == nullptr)
      fail(kIllegalAddress, "copies asynchronously from no global memory");
  }
  access(shared, bytes, bytes, true);
  const std::ptrdiff_t offset = shared_offset(shared, bytes);
  if (offset < 0) fail(kIllegalAddress, "copies asynchronously to no shared memory");
  for (std::size_t i = 0; i < bytes; ++i) ++under_copy_[static_cast<std::size_t>(offset) + i];
  current().copies.push_back({shared, global, bytes});
}

// Until then the copies have not begun: what they bring is what lies there now.
void Grid::wait_for_copies(std::size_t groups) {
  Thread& thread = current();
  while (thread.groups.size() > groups) {
    for (const Copy& copy : thread.groups.front()) {
      const std::ptrdiff_t offset = shared_offset(copy.shared, copy.bytes);
      for (std::size_t i = 0; i < copy.bytes; ++i) --under_copy_[static_cast<std::size_t>(offset) + i];
      access(copy.shared, copy.bytes, copy.bytes, true);
      auto* to = reinterpret_cast<void*>(copy.shared);
      if (copy.global == 0) {
        std::memset(to, 0, copy.bytes);
        continue;
      }
      access(copy.global, copy.bytes, copy.bytes, false);
      std::memcpy(to, reinterpret_cast<const void*>(copy.global), copy.bytes);
    }
    thread.groups.pop_front();
  }
}

}  // namespace emulated
