// The backends that a command line asks for.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "cpu/isa.h"
#include "strobe/device.h"

namespace strobe::bench {

// "cpu/avx2": what a row ran on.
std::string backend_label(cpu::Isa level);

struct BackendChoice {
  std::vector<cpu::Isa> levels;       // what runs on the CPU, in the order of the names, each once
  Device gpu;                         // the GPU of `gpu_backends`
  std::vector<Backend> gpu_backends;  // what runs there; kAuto: the best that an operator has
  std::vector<std::string> notes;     // for each name that does not: why
};

// `cpu` and `auto` are the active level, `cpu/avx2` and the like are levels. Other names are left out with a
// note: levels that this machine does not run, kernels of FlashInfer's, and those of a GPU where there is
// none. `cuda/sm80` and `cuda/sm90` run on `device`, or on the first GPU when that is the CPU; when it is a
// GPU, `auto` means its best backend, no names mean that, and Error(kUnsupported) says why it cannot be used.
// When nothing is left, a list
// of FlashInfer's kernels means Strobe's own choice; anything else is Error(kUnsupported). A name that nobody
// knows is Error(kInvalidArgument). No names: the active level.
BackendChoice choose_backends(std::span<const std::string> names, Device device = {});

}  // namespace strobe::bench
