// Copies of boxes of tensors between global and shared memory by the copy engine.
#include <algorithm>
#include <cstring>
#include <utility>

#include "grid.h"

namespace emulated {
namespace {

// Calls f(byte in the box, byte address in the tensor) for every 16 bytes of the box; address 0 lies outside
// the tensor. The innermost size is a multiple of 8 elements or the rest of the piece is outside, too.
template <class F>
void for_each_piece(const TensorMapContent& map, const int* at, F f) {
  constexpr unsigned kPieceBytes = 16;
  const unsigned elements = kPieceBytes / map.element_bytes;
  const auto inside = [&](int axis, long place) {
    return place >= 0 && place < static_cast<long>(map.size[axis]);
  };
  std::size_t byte = 0;
  for (int w = at[4]; w < at[4] + map.box[4]; ++w)
    for (int u = at[3]; u < at[3] + map.box[3]; ++u)
      for (int z = at[2]; z < at[2] + map.box[2]; ++z)
        for (int y = at[1]; y < at[1] + map.box[1]; ++y)
          for (unsigned x = 0; x < map.box[0]; x += elements, byte += kPieceBytes) {
            const long column = at[0] + static_cast<long>(x);
            const bool is_inside = inside(1, y) && inside(2, z) && inside(3, u) && inside(4, w);
            const std::uintptr_t row = map.address + static_cast<unsigned long>(y) * map.stride[0] +
                                       static_cast<unsigned long>(z) * map.stride[1] +
                                       static_cast<unsigned long>(u) * map.stride[2] +
                                       static_cast<unsigned long>(w) * map.stride[3];
            const long first = std::max(0L, -column),
                       last = std::min<long>(elements, static_cast<long>(map.size[0]) - column);
            if (!is_inside || first >= last)
              f(byte, 0, 0, 0);
            else
              f(byte, first * map.element_bytes, (last - first) * map.element_bytes,
                row + static_cast<unsigned long>((column + first) * map.element_bytes));
          }
}

std::size_t bytes_of(const TensorMapContent& map) {
  return std::size_t{map.box[0]} * map.box[1] * map.box[2] * map.box[3] * map.box[4] * map.element_bytes;
}

std::uintptr_t permuted(const TensorMapContent& map, std::uintptr_t address) {
  return map.permutes ? address ^ (address >> 7 & 7) << 4 : address;
}

}  // namespace

void Grid::bind_boxes(Machine& machine) {
  machine.copy_box = [](unsigned long to, const void* map, unsigned long barrier, const int* at) {
    instance().copy_box(to, map, barrier, at);
  };
  machine.store_box = [](const void* map, unsigned long from, const int* at) {
    instance().store_box(map, from, at);
  };
  machine.end_store_group = [] {
    Thread& thread = instance().current();
    thread.storing.insert(thread.storing.end(), thread.stores.begin(), thread.stores.end());
    thread.stores.clear();
  };
  machine.wait_for_stores = [] { instance().finish_stores(); };
  machine.order_before_async = [] { ++instance().current().async_fences; };
}

TensorMapContent Grid::map_of(const void* map) {
  TensorMapContent content;
  std::memcpy(&content, map, sizeof content);
  if (content.is_map != kIsMap) fail(kLaunchFailed, "copies by what is no tensor map");
  return content;
}

void Grid::copy_box(std::uintptr_t shared, const void* map, std::uintptr_t barrier, const int* at) {
  constexpr std::size_t kAlignment = 128;
  const TensorMapContent content = map_of(map);
  const PhaseBarrier& at_barrier = barrier_at(barrier);
  if (!at_barrier.is_published)
    fail(kLaunchFailed, "copies to a barrier that the copy engine has not been shown: publish_barriers()");
  const std::size_t bytes = bytes_of(content);
  access(shared, bytes, kAlignment, true);
  const std::ptrdiff_t offset = shared_offset(shared, bytes);
  if (offset < 0) fail(kIllegalAddress, "copies a box to no shared memory");
  for_each_piece(content, at, [&](std::size_t, long, long count, std::uintptr_t global) {
    if (global != 0) access(global, static_cast<std::size_t>(count), 1, false);
  });
  for (std::size_t i = 0; i < bytes; ++i) ++under_copy_[static_cast<std::size_t>(offset) + i];
  const auto cell = static_cast<std::size_t>(shared_offset(barrier, 1));
  box_copies_.push_back({content, shared, cell, {at[0], at[1], at[2], at[3], at[4]}});
}

// Makes one of the copies to that barrier, if there is any: its bytes come, and who learns that they have
// come may read them.
void Grid::land_copy(std::size_t cell) {
  std::vector<std::size_t> candidates;
  for (std::size_t i = 0; i < box_copies_.size(); ++i)
    if (box_copies_[i].barrier == cell) candidates.push_back(i);
  if (candidates.empty()) return;
  const std::size_t chosen = candidates[random_() % candidates.size()];
  const BoxCopy copy = box_copies_[chosen];
  box_copies_.erase(box_copies_.begin() + static_cast<std::ptrdiff_t>(chosen));
  PhaseBarrier& barrier = phase_barriers_.at(cell);
  const std::size_t bytes = bytes_of(copy.map);
  const auto offset = static_cast<std::size_t>(shared_offset(copy.shared, bytes));
  Access access = now().access;
  access.thread = kCopyEngine;
  access.clock = order_.release_copy(barrier.arrived);
  for (std::size_t i = offset; i < offset + bytes; ++i) {
    --under_copy_[i];
    shared_cells_[i].write = access;
    std::fill_n(&readers_[i / kReadersBytes * order_.engine()], order_.engine(), 0);
    writer_fences_[i] = kUnknownFences;
  }
  for_each_piece(copy.map, copy.at, [&](std::size_t byte, long first, long count, std::uintptr_t global) {
    auto* to = reinterpret_cast<char*>(permuted(copy.map, copy.shared + byte));
    std::memset(to, 0, 16);
    if (global != 0)
      std::memcpy(to + first, reinterpret_cast<const void*>(global), static_cast<std::size_t>(count));
  });
  barrier.bytes -= static_cast<long>(bytes);
  end_phase_if_complete(cell);
}

void Grid::store_box(const void* map, std::uintptr_t shared, const int* at) {
  constexpr std::size_t kAlignment = 128;
  use_order();
  const TensorMapContent content = map_of(map);
  if (shared % kAlignment != 0) fail(kMisalignedAddress, "stores a box from no multiple of 128");
  read_async(shared, bytes_of(content));
  current().stores.push_back({content, shared, {at[0], at[1], at[2], at[3], at[4]}});
}

// Until then the stores have read nothing.
void Grid::finish_stores() {
  for (const BoxStore& store : std::exchange(current().storing, {})) {
    read_async(store.shared, bytes_of(store.map));
    for_each_piece(store.map, store.at, [&](std::size_t byte, long first, long count, std::uintptr_t global) {
      if (global == 0) return;
      access(global, static_cast<std::size_t>(count), 1, true);
      const auto* from = reinterpret_cast<const char*>(permuted(store.map, store.shared + byte));
      std::memcpy(reinterpret_cast<void*>(global), from + first, static_cast<std::size_t>(count));
    });
  }
}

void Grid::read_async(std::uintptr_t address, std::size_t bytes) {
  const std::ptrdiff_t offset = shared_offset(address, bytes);
  if (offset < 0) fail(kIllegalAddress, "has " + std::to_string(bytes) + " bytes of no shared memory read");
  access(address, bytes, 1, false);
  for (auto i = static_cast<std::size_t>(offset); i < static_cast<std::size_t>(offset) + bytes; ++i) {
    const std::uint16_t writer = shared_cells_[i].write.thread;
    if (writer_fences_[i] == kUnknownFences || writer >= thread_count_) continue;
    if (threads_[writer].async_fences == writer_fences_[i])
      fail(kLaunchFailed, "has the copy engine or the tensor cores read byte " + std::to_string(i) +
                              " of shared memory, which thread " + std::to_string(writer) +
                              " has written with no order_before_async() since");
  }
}

}  // namespace emulated
