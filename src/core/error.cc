#include "strobe/error.h"

namespace strobe::inline v1 {

std::string_view name(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalidArgument:
      return "invalid argument";
    case ErrorKind::kUnsupported:
      return "unsupported";
    case ErrorKind::kOutOfMemory:
      return "out of memory";
    case ErrorKind::kCompile:
      return "compile";
    case ErrorKind::kDriver:
      return "driver";
    case ErrorKind::kIo:
      return "i/o";
  }
  return "unknown";
}

}  // namespace strobe::inline v1
