// Throws an Error with a formatted message.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

#include "strobe/error.h"

namespace strobe::inline v1 {

template <class... Args>
[[noreturn]] void fail(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(kind, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace strobe::inline v1
