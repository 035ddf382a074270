// What a compiler for GPUs knows of CUDA and the host's compiler does not, as a rewriting of the source.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace emulated {

// Headers by the names that #include "…" spells.
using Headers = std::map<std::string, std::string>;

// The text, and that of every header it includes directly or not but those that others replace.
std::vector<std::string> texts_of(const std::string& source, const Headers& headers,
                                  bool (*is_replaced)(const std::string& header));

// Names of the headers of kernels/ptx that the texts include.
std::vector<std::string> ptx_headers_of(const std::vector<std::string>& texts);

struct Kernel {
  std::string name;
  std::string bounds;  // the arguments of __launch_bounds__ as written; may be empty
};

// The entries that `extern "C" __global__ void` declares.
std::vector<Kernel> kernels_of(const std::vector<std::string>& texts);

// `extern __shared__ T name[];` becomes a reference to the block's dynamic shared memory.
std::string with_dynamic_shared(const std::string& text);

// The alignment that `extern __shared__ alignas(…)` asks for, in digits; what every kernel gets otherwise.
int shared_alignment_of(const std::vector<std::string>& texts);

// The end of the translation unit: the module that the driver asks for.
std::string module_text(const std::vector<Kernel>& kernels, int capability, int shared_alignment);

}  // namespace emulated
