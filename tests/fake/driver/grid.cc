#include "grid.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
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
constexpr unsigned char kUnwritten = 0xff;  // NaN, or -1

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
  machine_.access_settled = [](const void* address, unsigned long bytes) {
    bool& has_waited = instance().current().has_waited;
    const bool before = std::exchange(has_waited, true);
    instance().access(reinterpret_cast<std::uintptr_t>(address), bytes, bytes, false);
    has_waited = before;
  };
  machine_.wait_for_block = [] { instance().wait_for_block(); };
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
  machine_.narrow = narrow;
  machine_.widen = widen;
  // The page after the last byte that a block may have cannot be touched.
  dynamic_pages_ = static_cast<char*>(::mmap(nullptr, kMostDynamicShared + 4096, PROT_READ | PROT_WRITE,
                                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (dynamic_pages_ == MAP_FAILED) std::abort();
  ::mprotect(dynamic_pages_ + kMostDynamicShared, 4096, PROT_NONE);
}

void Grid::thread_body() {
  for (;;) {
    Grid& grid = instance();
    grid.request_.code.entry->call(grid.request_.params.data());
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
  thread_count_ = static_cast<int>(request.block.x * request.block.y * request.block.z);
  threads_.resize(static_cast<std::size_t>(thread_count_));
  prepare_shared();
  order_.resize(std::size_t{request.grid.x} * request.grid.y * request.grid.z);
  std::iota(order_.begin(), order_.end(), 0u);
  std::shuffle(order_.begin(), order_.end(), random_);
  first_run_ = run_;
  for (const std::uint32_t block : order_) {
    if (!run_block(block)) break;
    ++run_;
  }
  if (fault_.result != kSuccess) fault_.text = std::string(request.code.entry->name) + ": " + fault_.text;
  return fault_;
}

// The shared memory of this thread of the host, which runs all blocks of the grid.
void Grid::prepare_shared() {
  static_shared_ = {0, request_.code.static_shared_bytes};
  if (request_.code.tls_module != 0) {
    TlsIndex index{request_.code.tls_module, 0};
    static_shared_.begin = reinterpret_cast<std::uintptr_t>(__tls_get_addr(&index));
  }
  constexpr std::size_t kAlignment = 16;  // what a kernel may count on without more
  const std::size_t bytes = (request_.dynamic_shared_bytes + kAlignment - 1) / kAlignment * kAlignment;
  machine_.dynamic_shared = dynamic_pages_ + kMostDynamicShared - bytes;
  dynamic_shared_ = {reinterpret_cast<std::uintptr_t>(machine_.dynamic_shared),
                     request_.dynamic_shared_bytes};
  shared_cells_.resize(static_shared_.bytes + dynamic_shared_.bytes);
  under_copy_.resize(shared_cells_.size());
}

bool Grid::run_block(std::uint32_t linear) {
  machine_.block = index_of(linear, request_.grid);
  for (const Range& shared : {static_shared_, dynamic_shared_})
    if (shared.bytes > 0) std::memset(reinterpret_cast<void*>(shared.begin), kUnwritten, shared.bytes);
  std::fill(under_copy_.begin(), under_copy_.end(), 0);
  at_barrier_ = ended_ = epoch_ = 0;
  warp_epochs_ = {};
  runnable_.clear();
  for (int i = 0; i < thread_count_; ++i) {
    threads_[static_cast<std::size_t>(i)] = {};
    make_runnable(i);
  }
  while (!runnable_.empty()) {
    const std::size_t pick = random_() % runnable_.size();
    const int thread = std::exchange(runnable_[pick], runnable_.back());
    runnable_.pop_back();
    machine_.thread = index_of(static_cast<std::uint32_t>(thread), request_.block);
    if (!fibers_.run(thread)) return false;
  }
  if (ended_ == thread_count_) return true;
  fault_ = diverged();
  return false;
}

void Grid::make_runnable(int thread) {
  threads_[static_cast<std::size_t>(thread)].state = State::kRunnable;
  runnable_.push_back(thread);
}

// On a GPU this would hang, or go on with what the others have not yet done.
Fault Grid::diverged() const {
  std::string waiting;
  for (std::size_t i = 0; i < threads_.size() && waiting.empty(); ++i)
    if (threads_[i].state != State::kEnded)
      waiting = "thread " + std::to_string(i) +
                (threads_[i].state == State::kAtBarrier ? " waits at a barrier" : " waits for its warp");
  return {kLaunchFailed, "block " + text_of(machine_.block) + " diverged: " + waiting + ", " +
                             std::to_string(at_barrier_) + " of " + std::to_string(thread_count_) +
                             " threads are at the barrier, " + std::to_string(ended_) + " have ended"};
}

std::string Grid::describe(const Access& access) const {
  std::string text =
      access.thread >= kManyOfWarp ? "several threads" : "thread " + std::to_string(access.thread);
  if (access.epoch == kMany) return "threads of several blocks";
  if (access.run != run_)
    text += " of block " + text_of(index_of(order_[access.run - first_run_], request_.grid));
  return text;
}

void Grid::fail(Result result, const std::string& text) {
  fault_ = {result, "block " + text_of(machine_.block) + ", thread " + std::to_string(fibers_.current()) +
                        ": " + text};
  fibers_.abandon();
}

std::ptrdiff_t Grid::shared_offset(std::uintptr_t address, std::size_t bytes) {
  const bool is_static = static_shared_.holds(address);
  if (!is_static && !dynamic_shared_.holds(address)) return -1;
  const Range& shared = is_static ? static_shared_ : dynamic_shared_;
  const std::uintptr_t offset = address - shared.begin;
  if (bytes > shared.bytes - offset)
    fail(kIllegalAddress, std::to_string(bytes) + " bytes go beyond the end of shared memory");
  return static_cast<std::ptrdiff_t>(offset + (is_static ? 0 : static_shared_.bytes));
}

void Grid::access(std::uintptr_t address, std::size_t bytes, std::size_t alignment, bool write) {
  if (fibers_.is_own_stack(address)) return;
  if (address % alignment != 0)
    fail(kMisalignedAddress, phrase(write, bytes) + describe_address(address) + ", which is no multiple of " +
                                 std::to_string(alignment));
  if (const std::ptrdiff_t offset = shared_offset(address, bytes); offset >= 0) {
    access_shared(static_cast<std::size_t>(offset), bytes, write);
    return;
  }
  if (last_allocation_ == nullptr || address < last_allocation_->begin || address >= last_allocation_->end)
    last_allocation_ = find_allocation(address);
  if (last_allocation_ != nullptr) return access_global(*last_allocation_, address, bytes, write);
  if (!write && request_.code.image.holds(address)) return;  // constants
  fail(kIllegalAddress, phrase(write, bytes) + describe_address(address));
}

void Grid::access_global(const Allocation& allocation, std::uintptr_t address, std::size_t bytes,
                         bool write) {
  const auto fail_with = [&](Result result, const std::string& why) {
    fail(result, phrase(write, bytes) + describe_address(address) + why);
  };
  if (bytes > allocation.end - address) fail_with(kIllegalAddress, "");
  if (allocation.device != request_.device) fail_with(kIllegalAddress, " of another device");
  if (request_.may_begin_early && !current().has_waited)
    fail_with(kLaunchFailed, " before it waits for the kernel before");
  for (std::size_t i = 0; i < bytes; ++i)
    if (const Access* other =
            race(allocation.cells[address - allocation.begin + i], now(), first_run_, write);
        other != nullptr)
      fail_with(kLaunchFailed, ", which " + describe(*other) + " touches with nothing to order the two");
}

void Grid::access_shared(std::size_t offset, std::size_t bytes, bool write) {
  const auto fail_with = [&](const std::string& why) {
    fail(kLaunchFailed,
         phrase(write, bytes) + "at byte " + std::to_string(offset) + " of shared memory, which " + why);
  };
  for (std::size_t i = offset; i < offset + bytes; ++i) {
    Cell& cell = shared_cells_[i];
    if (under_copy_[i] != 0) fail_with("an asynchronous copy writes that nobody has waited for");
    if (const Access* other = race(cell, now(), run_, write); other != nullptr)
      fail_with(describe(*other) + " touches with no barrier between");
    if (!write && cell.write.run != run_) fail_with("nobody has written");
  }
}

void Grid::wait_for_block() {
  if (++at_barrier_ < thread_count_) {
    current().state = State::kAtBarrier;
    fibers_.leave();
    return;
  }
  at_barrier_ = 0;
  ++epoch_;
  for (int i = 0; i < thread_count_; ++i)
    if (i != fibers_.current()) make_runnable(i);
}

void Grid::meet(unsigned lanes, void* given, void (*act)(void* const*)) {
  const auto self = static_cast<unsigned>(fibers_.current());
  const unsigned warp = self / kWarpThreads * kWarpThreads, lane = self % kWarpThreads;
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
    if (warp + l >= threads_.size() || of_lane(l).state == State::kEnded)
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
