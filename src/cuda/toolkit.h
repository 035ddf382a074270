// Libraries of the CUDA toolkit, wherever one is installed: found and loaded at run time.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/env.h"

namespace strobe::cuda {

// Folders that exist and may hold a library, best first: of CUDA_HOME and CUDA_PATH, /usr/local/cuda*, and
// the pip packages of the Python environments around: nvidia/cu13 of CUDA 13, nvidia/<package> of CUDA 12
// ("cuda_nvrtc").
std::vector<std::string> toolkit_folders(std::string_view package);

// The files in a folder whose names begin with `stem` ("libnvrtc.so"), newest version first.
std::vector<std::string> library_files(const std::string& folder, std::string_view stem);

// A library of the toolkit that may be missing; loaded for the life of the process.
struct ToolkitLibrary {
  void* handle = nullptr;
  std::string problem;  // why there is none
};

// Where the variable says (a file or a folder; "none": nowhere), else what the process has loaded already,
// what is in the toolkit's folders, what the loader finds by one of `names` ("libcupti.so.13").
ToolkitLibrary load_toolkit_library(env::Variable variable, std::string_view package,
                                    std::span<const char* const> names);

}  // namespace strobe::cuda
