// page.css and page.js, put into the library by CMake.
#pragma once

#include <string_view>

namespace strobe::bench::report {

extern const std::string_view kPageStyle;
extern const std::string_view kPageScript;

}  // namespace strobe::bench::report
