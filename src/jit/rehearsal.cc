#include "jit/rehearsal.h"

#include <algorithm>

namespace strobe::jit {
namespace {

thread_local Rehearsal* current = nullptr;

}  // namespace

Rehearsal::Rehearsal(cuda::Architecture architecture) : device_(architecture), outer_(current) {
  current = this;
}

Rehearsal::~Rehearsal() { current = outer_; }

void Rehearsal::note(const Variant& variant) {
  if (std::find(variants_.begin(), variants_.end(), variant) == variants_.end()) variants_.push_back(variant);
}

Rehearsal* rehearsal() { return current; }

}  // namespace strobe::jit
