// Tensors in a file of the safetensors format: eight bytes of header length (little endian), a JSON header
// that says dtype, shape and place of every name, then the elements, dense.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "strobe/tensor.h"

namespace strobe::inline v1 {

struct NamedView {
  std::string name;
  TensorView view;  // on the CPU, of any strides
};

// Throws Error(kIo) that names the file and what went wrong; the file may then be there in part.
void write_safetensors(const std::string& path, std::span<const NamedView> tensors);

// Throws Error(kIo) that names the file and what is wrong with it: unreadable, a header that does not parse,
// a dtype that is none of ours, a tensor whose bytes do not match its shape or lie outside of the file.
std::map<std::string, Tensor> read_safetensors(const std::string& path);

// What the header says of a tensor, whose dtype may be one that Strobe has not.
struct SafetensorsEntry {
  std::string dtype;  // as the format spells it: "F32", "BF16", "F8_E4M3", "I64", …
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0, end = 0;  // bytes behind the header
};
// Reads the header alone. Throws Error(kIo) as read_safetensors does.
std::map<std::string, SafetensorsEntry> read_safetensors_header(const std::string& path);
// One tensor; Error(kIo) when there is none of that name.
Tensor read_safetensors_tensor(const std::string& path, const std::string& name);

}  // namespace strobe::inline v1
