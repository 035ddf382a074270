// Barriers of some of a block's threads: mbarriers, whose phases end when arrivals and bytes have come, and
// named barriers. What they order is kept by warps (order.h).
#include <utility>

#include "grid.h"

namespace emulated {
namespace {

constexpr std::size_t kBarrierBytes = 8;
constexpr int kNamedBarriers = 16;

}  // namespace

void Grid::bind_barriers(Machine& machine) {
  machine.init_barrier = [](unsigned long barrier, unsigned arrivals) {
    instance().init_barrier(barrier, arrivals);
  };
  machine.publish_barriers = [] {
    for (auto& [cell, barrier] : instance().phase_barriers_)
      if (barrier.initialised_by == instance().fibers_.current()) barrier.is_published = true;
  };
  machine.arrive = [](unsigned long barrier, unsigned bytes) { instance().arrive(barrier, bytes); };
  machine.wait_for_phase = [](unsigned long barrier, unsigned parity) {
    instance().wait_for_phase(barrier, parity);
  };
  machine.sync_threads = [](int barrier, int threads) { instance().sync_threads(barrier, threads); };
}

// From here on the block's accesses are followed by warps, too.
void Grid::use_order() {
  if (has_order_) return;
  if (blocks_.size() > 1) fail(kNotSupported, "the emulation has no such barriers in clusters of blocks");
  has_order_ = true;
  readers_.assign((shared_cells_.size() / kReadersBytes + 1) * order_.engine(), 0);
  writer_fences_.assign(shared_cells_.size(), kUnknownFences);
}

void Grid::init_barrier(std::uintptr_t address, unsigned arrivals) {
  use_order();
  access(address, kBarrierBytes, kBarrierBytes, true);
  const std::ptrdiff_t cell = shared_offset(address, kBarrierBytes);
  if (cell < 0 || arrivals == 0) fail(kLaunchFailed, "makes a barrier of what is none");
  phase_barriers_[static_cast<std::size_t>(cell)] = {.arrivals = arrivals,
                                                     .missing = arrivals,
                                                     .bytes = 0,
                                                     .phase = 0,
                                                     .is_published = false,
                                                     .initialised_by = fibers_.current(),
                                                     .arrived = order_.nothing(),
                                                     .ended = order_.nothing()};
}

// The barrier there, whose initialisation comes before what the thread does.
Grid::PhaseBarrier& Grid::barrier_at(std::uintptr_t address) {
  const std::ptrdiff_t cell = shared_offset(address, kBarrierBytes);
  const auto barrier = phase_barriers_.find(static_cast<std::size_t>(cell));
  if (cell < 0 || barrier == phase_barriers_.end())
    fail(kLaunchFailed, "uses a barrier where nobody has made one");
  access(address, kBarrierBytes, kBarrierBytes, false);
  return barrier->second;
}

void Grid::arrive(std::uintptr_t address, unsigned bytes) {
  PhaseBarrier& barrier = barrier_at(address);
  const auto cell = static_cast<std::size_t>(shared_offset(address, kBarrierBytes));
  if (barrier.missing == 0)
    fail(kLaunchFailed, "arrives once more than announced at " + describe_phase(cell, barrier.phase % 2));
  order_.release(current_warp(), barrier.arrived);
  if (order_.has_overflown()) fail(kNotSupported, "the emulation cannot count so many arrivals");
  barrier.bytes += bytes;
  --barrier.missing;
  end_phase_if_complete(cell);
}

void Grid::end_phase_if_complete(std::size_t cell) {
  PhaseBarrier& barrier = phase_barriers_.at(cell);
  if (barrier.missing != 0 || barrier.bytes != 0) return;
  ++barrier.phase;
  barrier.missing = barrier.arrivals;
  barrier.ended = barrier.arrived;
  for (int i = 0; i < thread_count_; ++i) {
    Thread& thread = threads_[static_cast<std::size_t>(i)];
    if (thread.state == State::kAtPhase && thread.barrier == cell) make_runnable(i);
  }
}

// Copies to the barrier are made when somebody waits for them, or only when nobody can go on without.
void Grid::wait_for_phase(std::uintptr_t address, unsigned parity) {
  PhaseBarrier& barrier = barrier_at(address);
  const auto cell = static_cast<std::size_t>(shared_offset(address, kBarrierBytes));
  Thread& thread = current();
  while (barrier.phase % 2 == parity) {
    if (thread.shall_land || random_() % 2 == 0) {
      thread.shall_land = false;
      land_copy(cell);
      if (barrier.phase % 2 != parity) break;
    }
    thread.state = State::kAtPhase;
    thread.barrier = cell;
    thread.parity = parity;
    fibers_.leave();
  }
  order_.acquire(current_warp(), barrier.ended);
}

// Of the threads that wait for a phase to which a copy is under way, one goes on and finds the copy made.
bool Grid::wake_for_copy() {
  std::vector<int> candidates;
  for (int i = 0; i < thread_count_; ++i) {
    const Thread& thread = threads_[static_cast<std::size_t>(i)];
    if (thread.state != State::kAtPhase) continue;
    for (const BoxCopy& copy : box_copies_)
      if (copy.barrier == thread.barrier) {
        candidates.push_back(i);
        break;
      }
  }
  if (candidates.empty()) return false;
  const int chosen = candidates[random_() % candidates.size()];
  threads_[static_cast<std::size_t>(chosen)].shall_land = true;
  make_runnable(chosen);
  return true;
}

void Grid::sync_threads(int number, int threads) {
  if (number < 1 || number >= kNamedBarriers || threads <= 0 || threads % kWarpThreads != 0)
    fail(kLaunchFailed,
         "there is no barrier " + std::to_string(number) + " of " + std::to_string(threads) + " threads");
  use_order();
  NamedBarrier& barrier = named_barriers_[number];
  if (barrier.waiting.empty()) barrier.threads = threads;
  if (barrier.threads != threads)
    fail(kLaunchFailed, "comes to barrier " + std::to_string(number) + " of " +
                            std::to_string(barrier.threads) + " threads as to one of " +
                            std::to_string(threads));
  barrier.waiting.push_back(fibers_.current());
  if (static_cast<int>(barrier.waiting.size()) < threads) {
    current().state = State::kAtNamedBarrier;
    fibers_.leave();
    return;
  }
  const std::vector<int> all = std::exchange(barrier.waiting, {});
  std::vector<bool> takes_part(warp_epochs_.size());
  for (const int i : all) takes_part[warp_of_thread(i)] = true;
  Order::Clocks known = order_.nothing();
  for (std::size_t warp = 0; warp < takes_part.size(); ++warp)
    if (takes_part[warp]) order_.release(warp, known), ++warp_epochs_[warp];
  for (std::size_t warp = 0; warp < takes_part.size(); ++warp)
    if (takes_part[warp]) order_.acquire(warp, known);
  for (const int i : all)
    if (i != fibers_.current()) make_runnable(i);
}

// Of every phase that somebody waits for, one who does.
std::string Grid::describe_waits() const {
  std::string text;
  std::map<std::size_t, int> first;
  for (int i = 0; i < thread_count_; ++i) {
    const Thread& thread = threads_[static_cast<std::size_t>(i)];
    if (thread.state != State::kAtPhase || !first.emplace(thread.barrier, i).second) continue;
    text += (text.empty() ? "thread " : "; thread ") + std::to_string(i) + " waits for " +
            describe_phase(thread.barrier, thread.parity);
  }
  return text;
}

std::string Grid::describe_phase(std::size_t cell, unsigned parity) const {
  const PhaseBarrier& barrier = phase_barriers_.at(cell);
  return "phase " + std::to_string(barrier.phase) + " (parity " + std::to_string(parity) +
         ") of the barrier at byte " + std::to_string(cell) + " of shared memory, where " +
         std::to_string(barrier.missing) + " of " + std::to_string(barrier.arrivals) + " arrivals and " +
         std::to_string(barrier.bytes) + " bytes are missing";
}

}  // namespace emulated
