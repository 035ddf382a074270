#include "cpu/model_name.h"

#include <fstream>

namespace strobe::cpu {
namespace {

// x86 names the model in /proc/cpuinfo; Arm gives numbers of maker and part.
std::string read_model_name() {
  std::ifstream file("/proc/cpuinfo");
  std::string arm;
  for (std::string line; std::getline(file, line) && !line.empty();) {
    const std::size_t colon = line.find(": ");
    if (colon == std::string::npos) continue;
    if (line.starts_with("model name")) return line.substr(colon + 2);
    if (line.starts_with("CPU implementer")) arm = "Arm implementer " + line.substr(colon + 2);
    if (line.starts_with("CPU part")) arm += " part " + line.substr(colon + 2);
  }
  return arm.empty() ? "unknown" : arm;
}

}  // namespace

const std::string& model_name() {
  static const std::string name = read_model_name();
  return name;
}

}  // namespace strobe::cpu
