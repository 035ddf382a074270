// How the arguments of a call give a definition's variable axes, read without allocation.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "strobe/c_api.h"
#include "strobe/device.h"
#include "trace/model.h"

namespace strobe::trace {

inline constexpr int kMaxVariableAxes = 12;

// What decides the solution: the sizes and where the tensors are.
struct CallKey {
  std::array<std::int64_t, kMaxVariableAxes> axes{};
  Device device;

  friend bool operator==(const CallKey&, const CallKey&) = default;
};

// Why arguments are not those of the definition, in the order in which it is found out.
enum class Mismatch : std::uint8_t { kNone, kCount, kKind, kDtype, kRank, kShape, kStrides, kDevice };
inline constexpr int kMismatchCount = 8;
std::string_view name(Mismatch mismatch);  // "dtype", …

class Signature {
 public:
  // Throws Error(kUnsupported): a dtype that no tensor of a call can have, more axes than kMaxVariableAxes,
  // an axis that no input has.
  explicit Signature(const Definition& definition);

  struct Reading {
    Mismatch mismatch = Mismatch::kNone;
    int argument = 0;  // the first that does not fit
  };
  enum class Strides : std::uint8_t { kDense, kAny };
  // Inputs, or inputs and then outputs. Tensors must be on one device, and dense where they are to be a
  // solution's, as those were that it was measured on.
  Reading read(std::span<const StrobeValue> arguments, CallKey& key,
               Strides strides = Strides::kDense) const noexcept;

  // The reading in words: "weight: expected dtype float32, got …".
  std::string explain(const Reading& reading, std::span<const StrobeValue> arguments) const;

  std::size_t inputs() const { return inputs_; }
  std::size_t arguments() const { return specs_.size(); }
  std::size_t axes() const { return axes_; }

 private:
  struct Extent {
    std::int32_t axis = -1;  // of the key; -1: a constant
    std::int64_t constant = 0;
  };
  struct Spec {
    std::string name, dtype_name;
    std::uint16_t dtype = 0;  // DLPack's code << 8 | bits
    bool is_scalar = false, is_optional = false;
    std::vector<Extent> shape;
  };
  Spec spec_of(const TensorSpec& tensor, const Definition& definition) const;
  Mismatch read_tensor(const Spec& spec, const StrobeTensor& tensor, std::uint32_t& bound,
                       CallKey& key) const noexcept;

  std::vector<Spec> specs_;
  std::size_t inputs_ = 0, axes_ = 0;
};

}  // namespace strobe::trace
