// The instruction-set level that was active, set back at the end of a scope.
#pragma once

#include "cpu/isa.h"

namespace strobe::bench {

class ScopedIsa {
 public:
  ScopedIsa() : before_(cpu::active_isa()) {}
  ~ScopedIsa() { cpu::set_active_isa(before_); }
  ScopedIsa(const ScopedIsa&) = delete;
  ScopedIsa& operator=(const ScopedIsa&) = delete;

 private:
  cpu::Isa before_;
};

}  // namespace strobe::bench
