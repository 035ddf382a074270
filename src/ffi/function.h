// An operator bound for callers in other languages: names are looked up once, calls are by position.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "ffi/plan_arguments.h"
#include "op/operator.h"
#include "strobe/c_api.h"

namespace strobe::ffi {

// The plan that a plan function and its run functions share.
struct SharedPlan {
  std::shared_ptr<op::Planned> planned;
  PlanArguments arguments;  // of the last plan that was not made again
  std::atomic<bool> busy = false;
};

// What is bound to a plan's state beside its first function.
enum class Bound {
  kPlan,   // the same plan, its arguments in another order
  kAgain,  // the last plan again, from its arrays as they were, with the attributes bound given anew
  kRun
};

class Function {
 public:
  // Throws Error when there is no such operator or argument, and when the arguments are of both plan and run.
  Function(std::string_view operator_name, std::span<const std::string_view> arguments, Backend backend);
  // Another function of a plan's. Throws Error as above.
  Function(const Function& plan, Bound bound, std::span<const std::string_view> arguments);
  // All arguments of a declaration, in its order.
  explicit Function(const op::Operator& op);

  // Throws Error; allocates nothing otherwise. Values at the end may be left out.
  void call(std::span<const StrobeValue> values, Stream stream) const;

  std::size_t arity() const { return arity_; }
  bool plans() const { return phase_ == op::Phase::kPlan; }
  std::size_t workspace_bytes() const;  // of runs of the current plan

 private:
  struct Slot {
    const op::Operand* operand;      // one of the two
    const op::Attribute* attribute;  // is null
    std::size_t value = 0;           // the number of the value that it gets
    int axis = -1;                   // of the tensor given, that the operand is one index of; -1: all of it
    std::int64_t index = 0;
    std::int64_t extent = -1;  // that the axis must have; -1: any
  };
  void bind(std::span<const std::string_view> arguments);
  Slot find(std::string_view argument) const;
  Slot find_declared(std::string_view argument) const;
  void set(const Slot& slot, const StrobeValue& value, void* args) const;
  void set_all(std::span<const StrobeValue> values, void* args) const;
  void call_planned(std::span<const StrobeValue> values, std::byte* args, const Launch& launch) const;

  const op::Operator* op_;
  Backend backend_ = Backend::kAuto;
  op::Phase phase_ = op::Phase::kRun;
  bool again_ = false;
  std::vector<Slot> slots_;  // in the order of their values
  std::size_t arity_ = 0;
  std::shared_ptr<void> defaults_;
  std::shared_ptr<SharedPlan> plan_;
};

Backend parse_backend(std::string_view text);

}  // namespace strobe::ffi

// The C interface's handle.
struct StrobeFunction {
  template <class... Args>
  explicit StrobeFunction(const Args&... args) : function(args...) {}
  const strobe::ffi::Function function;
  std::atomic<std::int64_t> references = 1;
};
