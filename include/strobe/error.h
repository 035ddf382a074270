// What Strobe throws.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include "strobe/export.h"

namespace strobe::inline v1 {

enum class ErrorKind {
  kInvalidArgument,  // the caller's arguments contradict the operator's declaration
  kUnsupported,      // a valid request that no backend of this build serves
  kOutOfMemory,
  kCompile,  // a kernel did not compile
  kDriver,   // a device driver reported a failure
  kIo,       // a file could not be read or written, or is malformed
};

// "invalid argument", "unsupported", …
STROBE_API std::string_view name(ErrorKind kind);

// Every failure of the library. The message says which argument of which operator, what was expected in the
// operator's own axis names, what came, and what to do.
class STROBE_API Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

}  // namespace strobe::inline v1
