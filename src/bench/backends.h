// The backends that a command line asks for.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "cpu/isa.h"

namespace strobe::bench {

// "cpu/avx2": what a row ran on.
std::string backend_label(cpu::Isa level);

struct BackendChoice {
  std::vector<cpu::Isa> levels;    // what runs, in the order of the names, each once
  std::vector<std::string> notes;  // for each name that does not: why
};

// `cpu` and `auto` are the active level, `cpu/avx2` and the like are levels. Other names are left out with a
// note: levels that this machine does not run, devices, kernels of FlashInfer's. When nothing is left, a list
// of FlashInfer's kernels means Strobe's own choice; anything else is Error(kUnsupported). A name that nobody
// knows is Error(kInvalidArgument). No names: the active level.
BackendChoice choose_backends(std::span<const std::string> names);

}  // namespace strobe::bench
