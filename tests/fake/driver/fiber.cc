#include "fiber.h"

#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstdlib>

namespace emulated {

struct Fibers::Fiber {
  ucontext_t context;  // for the first run; later ones jump, which asks nothing of the kernel
  std::jmp_buf place;
  bool started = false;
  char* stack = nullptr;
};

void Fibers::grow(int count) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  while (static_cast<int>(fibers_.size()) < count) {
    auto fiber = std::make_shared<Fiber>();
    void* pages = ::mmap(nullptr, kStackBytes + page, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (pages == MAP_FAILED) std::abort();
    ::mprotect(pages, page, PROT_NONE);  // stacks grow downwards
    fiber->stack = static_cast<char*>(pages) + page;
    fibers_.push_back(std::move(fiber));
  }
}

void Fibers::start(Fiber& fiber) {
  fiber.started = true;
  ::getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack;
  fiber.context.uc_stack.ss_size = kStackBytes;
  fiber.context.uc_link = nullptr;
  ::makecontext(&fiber.context, body_, 0);
  ::setcontext(&fiber.context);
  std::abort();  // not reached
}

bool Fibers::run(int index) {
  current_ = index;
  Fiber& fiber = *fibers_[static_cast<std::size_t>(index)];
  stack_begin_ = reinterpret_cast<std::uintptr_t>(fiber.stack);
  const int back = _setjmp(caller_);
  if (back != 0) return back != kAbandoned;
  if (!fiber.started) start(fiber);
  _longjmp(fiber.place, 1);
}

void Fibers::leave() {
  if (_setjmp(fibers_[static_cast<std::size_t>(current_)]->place) == 0) _longjmp(caller_, 1);
}

void Fibers::abandon() { _longjmp(caller_, kAbandoned); }

}  // namespace emulated
