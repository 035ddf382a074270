// Whole text files.
#pragma once

#include <string>

namespace strobe::bench {

// Throws Error(kIo) that names the file and the reason.
std::string read_text_file(const std::string& path);

}  // namespace strobe::bench
