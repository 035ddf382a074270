#include "cuda/rehearsal.h"

#include "core/message.h"

namespace strobe::cuda {
namespace {

thread_local const Rehearsal* current = nullptr;

// Multiprocessors of A100, A10, L40S, H200, B200 and RTX PRO 6000: grids of a rehearsal follow from them.
constexpr int kTypicalSmCount[kArchitectureCount] = {108, 72, 142, 132, 148, 188};

}  // namespace

Rehearsal::Rehearsal(Architecture architecture) : outer_(current) {
  const ArchitectureFacts& known = cuda::facts(architecture);
  facts_.name = fmt::format("a rehearsed {}", known.name);
  facts_.capability_major = known.capability_major;
  facts_.capability_minor = known.capability_minor;
  facts_.architecture = architecture;
  facts_.sm_count = kTypicalSmCount[static_cast<int>(architecture)];
  facts_.shared_bytes_per_block = known.shared_bytes_per_block;
  current = this;
}

Rehearsal::~Rehearsal() { current = outer_; }

const Rehearsal* rehearsal() { return current; }

}  // namespace strobe::cuda
