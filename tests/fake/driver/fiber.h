// Threads of a block: stacks that take turns on one thread of the host.
#pragma once

#include <csetjmp>
#include <cstdint>
#include <memory>
#include <vector>

namespace emulated {

inline constexpr int kMostThreads = 1024;  // of a block
inline constexpr int kLargestCluster = 16;

class Fibers {
 public:
  // `body` runs again and again on each fiber; it calls leave() when it has nothing to do.
  explicit Fibers(void (*body)()) : body_(body) {}
  // Makes fibers until there are so many.
  void grow(int count);

  // Runs fiber `index` until it leaves; false when it was abandoned instead.
  bool run(int index);
  // Called on a fiber: returns when the fiber runs again.
  void leave();
  // Called on a fiber: run() returns false, and no fiber runs any more.
  [[noreturn]] void abandon();

  int current() const { return current_; }
  // Whether the address is on the running fiber's stack.
  bool is_own_stack(std::uintptr_t address) const { return address - stack_begin_ < kStackBytes; }

 private:
  static constexpr std::size_t kStackBytes = 64 * 1024;
  static constexpr int kAbandoned = 2;
  struct Fiber;

  void start(Fiber& fiber);

  void (*body_)();
  std::vector<std::shared_ptr<Fiber>> fibers_;
  int current_ = 0;
  std::uintptr_t stack_begin_ = 0;
  std::jmp_buf caller_;
};

}  // namespace emulated
