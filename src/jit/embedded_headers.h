// The device code under kernels/, as it was when the library was built. CMake writes the implementation
// (cmake/EmbedKernels.cmake).
#pragma once

#include <span>
#include <string_view>

namespace strobe::jit {

struct Header {
  std::string_view name;  // as #include "…" spells it: relative to kernels/
  std::string_view text;  // null-terminated
};

std::span<const Header> embedded_headers();

}  // namespace strobe::jit
