// The declaration of an operator, from which validation, call log, cost, benchmark routine, reference check
// and documentation derive. A declaration is plain data and function pointers, built once by the builder in
// declare.h; everything that uses it (validate.h, call.h, routine.h, the bench, docs) reads these fields.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "op/axes.h"
#include "op/dtype_set.h"
#include "op/random.h"
#include "op/routine.h"
#include "strobe/device.h"
#include "strobe/tensor.h"

namespace strobe::op {

enum class Role : std::uint8_t { kInput, kOutput, kInOut };

// Operators that split into plan and run take some arguments in each; all others have run arguments only.
enum class Phase : std::uint8_t { kPlan, kRun };

enum class Strides : std::uint8_t {
  kRows,   // the innermost axis is contiguous; the others are free
  kDense,  // row-major without gaps
};

struct Operand {
  std::string name;
  std::string doc;
  Role role = Role::kInput;
  Phase phase = Phase::kRun;
  AxisList axes;
  AxisList axes_hnd;  // the shape under KvLayout::kHnd, when it differs
  DtypeSet dtypes;
  int same_dtype_as = -1;  // operand number; `dtypes` is then what that one may have
  bool optional = false;
  bool on_host = false;  // an index array that plan reads on the host, wherever the tensors live
  Strides strides = Strides::kRows;
  std::vector<int> may_alias;  // inputs that this output may be, as the very same view
  TensorView& (*view)(void* args) = nullptr;
  // Fills the operand for benchmarks and sweeps; the default draws from a normal distribution.
  void (*fill)(const TensorView& view, const Axes& axes, const void* args, Random& random) = nullptr;

  const TensorView& of(const void* args) const { return view(const_cast<void*>(args)); }
  bool written() const { return role != Role::kInput; }
};

enum class AttributeKind : std::uint8_t { kBool, kInt, kFloat, kEnum };

struct Attribute {
  std::string name;
  std::string doc;
  AttributeKind kind = AttributeKind::kFloat;
  Phase phase = Phase::kRun;
  double low = 0, high = 0;               // inclusive range for kInt and kFloat
  std::vector<std::string_view> choices;  // names of a kEnum's values 0, 1, …
  double (*get)(const void* args) = nullptr;
  void (*set)(void* args, double value) = nullptr;

  std::string text(const void* args) const;  // the value as log, docs and JSON show it
};

struct Axis {
  std::string name;
  std::string doc;
  std::int64_t default_size = 1;  // the benchmark's
};

// What one call has to do, at the least. `math` names the arithmetic that bounds the FLOPs: kBf16 may use
// bf16 dot products where the machine has them, kF32 may not.
struct Cost {
  double flops = 0;
  double bytes = 0;  // each operand's bytes once: read, written, or both
  Dtype math = Dtype::kF32;
};

// How an output is computed, for its tolerance (tolerance.h): the narrowest format that intermediate values
// are rounded to, and how many terms are summed.
struct Accuracy {
  Dtype intermediate = Dtype::kF32;
  std::int64_t reduction = 1;
};

// What a call should write, in FP64, for some rows (indices of the outermost axis) of one output: [rows,
// remaining axes], dense.
struct ExpectedOutput {
  int operand = 0;
  std::vector<std::int64_t> rows;
  std::vector<double> values;
};
using Expected =
    std::vector<ExpectedOutput>;  // one for each written operand that is given, in the order of declaration

// What an operator that splits into plan and run keeps between the two. One object serves one thread at a
// time.
class Planned {
 public:
  virtual ~Planned() = default;
  virtual void plan(const void* args, const Launch& launch) = 0;
  virtual void run(const void* args, const Launch& launch) = 0;
  virtual std::size_t workspace_bytes() const = 0;  // of the current plan
};

struct Operator {
  std::string name;
  std::string family;   // the file under src/ops that declares it
  std::string summary;  // one sentence
  std::string formula;
  std::string source;    // paper or origin
  std::string function;  // the public C++ call
  std::vector<Axis> axes;
  std::vector<Operand> operands;
  std::vector<Attribute> attributes;
  std::vector<std::string> rules;  // relations that `check` enforces, in words

  std::shared_ptr<void> (*make_args)() = nullptr;  // default-constructed arguments
  std::size_t args_size = 0;                       // bytes of them; they may be copied as bytes
  // Whether the operands' HND shapes hold for these arguments; null when the operator has no KV layout.
  bool (*is_hnd)(const void* args) = nullptr;
  // Relations beyond shapes and dtypes; throws through op::reject.
  void (*check)(const Operator& op, const void* args, const Axes& axes, Phase phase) = nullptr;
  Cost (*cost)(const void* args, const Axes& axes) = nullptr;
  // Of the implementations for a device: they need not keep intermediate values in the same formats.
  Accuracy (*accuracy)(const void* args, const Axes& axes, int operand, DeviceType device) = nullptr;
  // Reads the arguments as they are before the call and fills the values of every expected output (sized,
  // zero).
  void (*reference)(const void* args, const Axes& axes, Expected& expected) = nullptr;
  // The implementations, by Backend; null where there is none. Operators with a plan are run through
  // make_planned instead.
  std::array<void (*)(const void* args, const Axes& axes, const Launch& launch), kBackendCount> backends{};
  // For an operator with a plan: an object that plans and runs it. Null: a call is all there is.
  std::shared_ptr<Planned> (*make_planned)() = nullptr;
  std::array<bool, kBackendCount> planned_backends{};  // that it serves
  // Benchmark routines of its own; when empty, one is derived from axes, dtypes and attributes (routine.h).
  std::vector<Routine> routines;

  bool has(Backend backend) const {
    const auto index = static_cast<std::size_t>(backend);
    return backends[index] != nullptr || planned_backends[index];
  }
  int operand(std::string_view name) const;  // its number; throws std::out_of_range
  int axis(std::string_view name) const;
};

// Every operator of the library, in the order of declaration. The first call declares the built-in ones.
class Registry {
 public:
  // The operator must outlive the registry; a second one of the same name throws Error.
  void add(const Operator& op);
  std::span<const Operator* const> all() const { return operators_; }
  const Operator* find(std::string_view name) const;  // null when there is none

 private:
  std::vector<const Operator*> operators_;
};

Registry& registry();

}  // namespace strobe::op
