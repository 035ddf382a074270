// Where an NVRTC library may lie.
#pragma once

#include <string>
#include <vector>

namespace strobe::jit {

// Folders in the order of preference: toolkits named by CUDA_HOME and CUDA_PATH, /usr/local/cuda*, then
// nvidia/cuda_nvrtc/lib and nvidia/cu13/lib in the site-packages of the Python environments around (the
// active virtual or conda environment, PYTHONPATH, the folder that Strobe itself lies in, the user's and the
// system's).
std::vector<std::string> nvrtc_folders();

// libnvrtc.so.<major> files of a folder, newest first; libnvrtc.so when there is no other.
std::vector<std::string> nvrtc_files(const std::string& folder);

}  // namespace strobe::jit
