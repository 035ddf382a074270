// Runs a public operator call on arguments that a test has made by hand, and holds its outputs against the
// FP64 reference.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

#include "op/check.h"
#include "op/operator.h"
#include "op/random.h"
#include "op/validate.h"

namespace strobe::test {

// What the reference expects of the call, before it runs.
template <class Args>
op::Expected expected_of(std::string_view operator_name, const Args& args, op::Axes& axes) {
  const op::Operator& op = *op::registry().find(operator_name);
  op::validate(op, &args, op::Phase::kRun, axes);
  op::Random random(1);
  return op::expect(op, &args, axes, 1 << 20, random);
}

// `run` is called with the arguments and may change them first: that is what a negative control does.
template <class Args, class Run>
op::CheckResult check_call(std::string_view operator_name, Args args, Run run) {
  op::Axes axes;
  const op::Expected expected = expected_of(operator_name, args, axes);
  run(args);
  return op::compare(*op::registry().find(operator_name), &args, axes, expected);
}

// Memory whose last byte is followed by a page that faults when it is touched.
class GuardedMemory {
 public:
  explicit GuardedMemory(std::size_t bytes) : bytes_(bytes) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    mapped_ = (bytes + page - 1) / page * page + page;
    base_ = static_cast<char*>(
        mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base_ == MAP_FAILED || mprotect(base_ + mapped_ - page, page, PROT_NONE) != 0) std::abort();
    end_ = base_ + mapped_ - page;
  }
  ~GuardedMemory() { munmap(base_, mapped_); }
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;

  void* data() const { return end_ - bytes_; }

 private:
  std::size_t bytes_, mapped_;
  char *base_, *end_;
};

}  // namespace strobe::test
