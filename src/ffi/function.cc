#include "ffi/function.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstring>
#include <string>

#include "core/message.h"
#include "ffi/values.h"
#include "op/call.h"
#include "op/validate.h"

namespace strobe::ffi {
namespace {

using op::Operator;
using op::Phase;

constexpr std::size_t kMaxArgsBytes = 4096;  // of the largest argument struct

const Operator& find_operator(std::string_view name) {
  if (const Operator* op = op::registry().find(name)) return *op;
  std::vector<std::string_view> known;
  for (const Operator* op : op::registry().all()) known.push_back(op->name);
  fail(ErrorKind::kInvalidArgument, "unknown operator '{}'; known: {}", name, fmt::join(known, ", "));
}

std::string_view name(Phase phase) { return phase == Phase::kPlan ? "plan" : "run"; }

// Holds the plan for one call.
class Occupied {
 public:
  Occupied(const Operator& op, SharedPlan& plan) : plan_(plan) {
    if (plan.busy.exchange(true, std::memory_order_acquire))
      fail(ErrorKind::kInvalidArgument,
           "{}: expected one thread at a time for one plan, got a second; give each its own", op.name);
  }
  ~Occupied() { plan_.busy.store(false, std::memory_order_release); }
  Occupied(const Occupied&) = delete;
  Occupied& operator=(const Occupied&) = delete;

 private:
  SharedPlan& plan_;
};

}  // namespace

Backend parse_backend(std::string_view text) {
  std::vector<std::string_view> known;
  for (int i = 0; i < kBackendCount; ++i) {
    if (strobe::name(static_cast<Backend>(i)) == text) return static_cast<Backend>(i);
    known.push_back(strobe::name(static_cast<Backend>(i)));
  }
  fail(ErrorKind::kInvalidArgument, "backend: expected one of {}, got '{}'", fmt::join(known, ", "), text);
}

Function::Function(std::string_view operator_name, std::span<const std::string_view> arguments,
                   Backend backend)
    : op_(&find_operator(operator_name)), backend_(backend), defaults_(op_->make_args()) {
  if (op_->make_planned != nullptr) {
    phase_ = Phase::kPlan;
    plan_ = std::make_shared<SharedPlan>();
    plan_->planned = op_->make_planned();
  }
  bind(arguments);
}

Function::Function(const Function& plan, Bound bound, std::span<const std::string_view> arguments)
    : op_(plan.op_),
      backend_(plan.backend_),
      phase_(bound == Bound::kRun ? Phase::kRun : Phase::kPlan),
      again_(bound == Bound::kAgain),
      defaults_(plan.defaults_),
      plan_(plan.plan_) {
  if (plan.phase_ != Phase::kPlan)
    fail(ErrorKind::kInvalidArgument, "{}: expected a bound plan, got a function without one", op_->name);
  bind(arguments);
  for (const Slot& slot : slots_)
    if (again_ && slot.attribute == nullptr)
      fail(ErrorKind::kInvalidArgument, "{}: expected attributes for a plan made again, got '{}'", op_->name,
           slot.operand->name);
}

Function::Function(const Operator& op) : op_(&op), defaults_(op.make_args()) {
  for (const op::Operand& operand : op.operands) slots_.push_back({&operand, nullptr, arity_++});
  for (const op::Attribute& attribute : op.attributes) slots_.push_back({nullptr, &attribute, arity_++});
}

void Function::bind(std::span<const std::string_view> arguments) {
  if (op_->args_size > kMaxArgsBytes)
    throw std::logic_error(fmt::format("arguments of {} need {} bytes", op_->name, op_->args_size));
  slots_.reserve(arguments.size());
  for (std::string_view argument : arguments) {
    // "k[1=0]+v[1=1]": one value for both.
    for (std::size_t plus; (plus = argument.find('+')) != std::string_view::npos;) {
      slots_.push_back(find(argument.substr(0, plus)));
      argument.remove_prefix(plus + 1);
    }
    slots_.push_back(find(argument));
    ++arity_;
  }
}

// "k"; or "k[1=0]", index 0 of axis 1 of the tensor given; or "k[1=0/2]", where that axis has 2.
Function::Slot Function::find(std::string_view argument) const {
  const std::size_t bracket = argument.find('[');
  Slot slot = find_declared(argument.substr(0, bracket));
  slot.value = arity_;
  if (bracket == std::string_view::npos) return slot;
  const std::string_view part = argument.substr(bracket);
  const auto digit = [&](std::size_t at) { return part[at] >= '0' && part[at] <= '9'; };
  const bool sized = part.size() == 7 && part[4] == '/' && digit(5);
  if (slot.operand == nullptr || (part.size() != 5 && !sized) || !digit(1) || part[1] >= '0' + kMaxRank ||
      part[2] != '=' || !digit(3) || part.back() != ']')
    fail(ErrorKind::kInvalidArgument, "{}: expected an operand with [axis=index], got '{}'", op_->name,
         argument);
  slot.axis = part[1] - '0';
  slot.index = part[3] - '0';
  if (sized) slot.extent = part[5] - '0';
  return slot;
}

Function::Slot Function::find_declared(std::string_view argument) const {
  std::vector<std::string_view> known;
  for (const op::Operand& operand : op_->operands) {
    if (operand.phase != phase_) continue;
    if (operand.name == argument) return Slot{.operand = &operand, .attribute = nullptr};
    known.push_back(operand.name);
  }
  for (const op::Attribute& attribute : op_->attributes) {
    if (attribute.phase != phase_) continue;
    if (attribute.name == argument) return Slot{.operand = nullptr, .attribute = &attribute};
    known.push_back(attribute.name);
  }
  fail(ErrorKind::kInvalidArgument, "{}: {} has no argument '{}'; known: {}", op_->name, name(phase_),
       argument, fmt::join(known, ", "));
}

void Function::set(const Slot& slot, const StrobeValue& value, void* args) const {
  if (slot.operand == nullptr) return set_attribute(*op_, *slot.attribute, value, args);
  set_operand(*op_, *slot.operand, value, args);
  TensorView& view = slot.operand->view(args);
  if (slot.axis < 0 || !view.given()) return;
  const std::int64_t extent = slot.axis < view.rank ? view.shape[static_cast<std::size_t>(slot.axis)] : 0;
  if (slot.index >= extent)
    op::reject(*op_, slot.operand->name, "expected a tensor with index {} of axis {}, got {}", slot.index,
               slot.axis, describe(view));
  if (slot.extent >= 0 && slot.extent != extent)
    op::reject(*op_, slot.operand->name, "expected a tensor whose axis {} has {}, got {}", slot.axis,
               slot.extent, describe(view));
  view = view.select(slot.axis, slot.index);
}

void Function::call(std::span<const StrobeValue> values, Stream stream) const {
  if (values.size() > arity_)
    fail(ErrorKind::kInvalidArgument, "{}: expected at most {} arguments, got {}", op_->name, arity_,
         values.size());
  alignas(std::max_align_t) std::byte args[kMaxArgsBytes];
  const Launch launch(stream, backend_);
  if (plan_ != nullptr) return call_planned(values, args, launch);
  std::memcpy(args, defaults_.get(), op_->args_size);
  set_all(values, args);
  op::call_erased(*op_, args, launch);
}

void Function::set_all(std::span<const StrobeValue> values, void* args) const {
  for (const Slot& slot : slots_) {
    if (slot.value >= values.size()) break;
    set(slot, values[slot.value], args);
  }
}

void Function::call_planned(std::span<const StrobeValue> values, std::byte* args,
                            const Launch& launch) const {
  const Occupied occupied(*op_, *plan_);
  PlanArguments& kept = plan_->arguments;
  if (again_ && !kept.given())
    fail(ErrorKind::kInvalidArgument, "{}: expected a successful plan before it is made again", op_->name);
  std::memcpy(args, again_ ? kept.data() : static_cast<const std::byte*>(defaults_.get()), op_->args_size);
  if (again_)
    for (const Slot& slot : slots_) slot.attribute->set(args, slot.attribute->get(defaults_.get()));
  set_all(values, args);
  if (phase_ == Phase::kRun) return plan_->planned->run(args, launch);
  if (!again_) kept.clear();
  plan_->planned->plan(args, launch);
  if (!again_) kept.keep(*op_, args);
}

std::size_t Function::workspace_bytes() const {
  return plan_ == nullptr ? 0 : plan_->planned->workspace_bytes();
}

}  // namespace strobe::ffi
