// One compiled kernel as it lies in the cache: <stem>.cubin with the code, <stem>.json with this record,
// <stem>.cu with the translation unit. The stem is <kernel>-<source key>-<NVRTC version>: the key is a hash
// of everything that determines the code but the compiler's version, which stands beside it, so that a
// process can tell that a kernel is there, and load it, without loading a compiler.
//
// What the host's C++ compiler makes lies there in the same way: <stem>.so, <stem>.json, <stem>.cc, and the
// stem's version is cxx<version> of that compiler.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "jit/ptxas_log.h"

namespace strobe::jit {

inline constexpr std::size_t kSourceKeyDigits = 32;  // 128 bits

// "rmsnorm-0123456789abcdef0123456789abcdef-13.0", or "…-cxx12.2".
struct EntryName {
  std::string kernel;
  std::string source_key;
  int compiler_version = 0;  // 13000 for 13.0
  bool host = false;         // of the host's compiler rather than NVRTC

  std::string stem() const;
  std::string_view code_suffix() const { return host ? ".so" : ".cubin"; }
  std::string_view source_suffix() const { return host ? ".cc" : ".cu"; }
  friend bool operator==(const EntryName&, const EntryName&) = default;
};

// The name in a stem; nothing when it is not one.
std::optional<EntryName> parse_stem(std::string_view stem);

struct EntryRecord {
  EntryName name;
  std::string description;  // kernel, constants, architecture
  std::string architecture;
  std::vector<std::string> options;
  double seconds = 0;  // of the compile
  KernelFacts facts;
  std::string log;
  std::size_t code_bytes = 0;
  std::string code_sha256;
  std::string source_sha256;
};

// JSON text, with a digest of itself.
std::string to_json(const EntryRecord& record);

// The record of an entry named `name`. When the text is damaged or tells of another entry, nothing, and `why`
// says so.
std::optional<EntryRecord> parse_record(const std::string& text, const EntryName& name, std::string& why);

}  // namespace strobe::jit
