// The builder of declarations:
//
//   const Operator op = Declare<RmsNormArgs>("rmsnorm", "norm", "Root-mean-square normalisation.")
//       .formula("out[i, j] = …")
//       .axis("hidden", 4096, "elements of a row")
//       .input<&RmsNormArgs::input>("input", "num_tokens..., hidden", kFloats, "rows to normalise")
//       .output<&RmsNormArgs::out>("out", "num_tokens..., hidden", same_as("input"), "normalised
//       rows").may_alias("input") .attribute<&RmsNormArgs::eps>("eps", 0, 1, "added to the mean square")
//       .cost([](const RmsNormArgs& args, const Axes& axes) { return Cost{…}; })
//       …
//       .build();
//
// A member inside a member is named by its path: input<&Args::run, &RunArgs::q>("q", …). Modifiers (optional,
// dense, host, may_alias, hnd, fill, plan) apply to the operand or attribute before them. Hooks are
// captureless lambdas.
#pragma once

#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>

#include "op/operator.h"

namespace strobe::op {

struct SameAs {
  std::string operand;
};
inline SameAs same_as(std::string operand) { return {std::move(operand)}; }

// The type-erased part of the builder.
class DeclareBase {
 public:
  // Checks that the declaration is complete and hands it out.
  Operator build();

 protected:
  DeclareBase(std::string name, std::string family, std::string summary);
  void add_operand(std::string name, Role role, const std::string& axes, std::string doc,
                   TensorView& (*view)(void*));
  void add_attribute(Attribute attribute, std::string name, std::string doc);
  AxisList parse_axes(const std::string& text) const;
  Operand& last_operand() { return op_.operands.back(); }

  Operator op_;
  bool attribute_last_ = false;
};

template <class Args>
class Declare : public DeclareBase {
  static_assert(std::is_trivially_copyable_v<Args> && alignof(Args) <= alignof(std::max_align_t));

 public:
  Declare(std::string name, std::string family, std::string summary)
      : DeclareBase(std::move(name), std::move(family), std::move(summary)) {
    op_.args_size = sizeof(Args);
    op_.make_args = [] { return std::shared_ptr<void>(std::make_shared<Args>()); };
  }

  Declare& formula(std::string text) { return op_.formula = std::move(text), *this; }
  Declare& source(std::string text) { return op_.source = std::move(text), *this; }
  Declare& function(std::string text) { return op_.function = std::move(text), *this; }
  // Axes are declared before the operands that use them; the default size is the benchmark's.
  Declare& axis(std::string name, std::int64_t default_size, std::string doc) {
    op_.axes.push_back({std::move(name), std::move(doc), default_size});
    return *this;
  }

  template <auto... Path>
  Declare& input(std::string name, const std::string& axes, DtypeSet dtypes, std::string doc) {
    return operand<Path...>(std::move(name), Role::kInput, axes, dtypes, std::move(doc));
  }
  template <auto... Path>
  Declare& input(std::string name, const std::string& axes, const SameAs& same, std::string doc) {
    return operand<Path...>(std::move(name), Role::kInput, axes, same, std::move(doc));
  }
  template <auto... Path>
  Declare& output(std::string name, const std::string& axes, DtypeSet dtypes, std::string doc) {
    return operand<Path...>(std::move(name), Role::kOutput, axes, dtypes, std::move(doc));
  }
  template <auto... Path>
  Declare& output(std::string name, const std::string& axes, const SameAs& same, std::string doc) {
    return operand<Path...>(std::move(name), Role::kOutput, axes, same, std::move(doc));
  }
  template <auto... Path>
  Declare& inout(std::string name, const std::string& axes, DtypeSet dtypes, std::string doc) {
    return operand<Path...>(std::move(name), Role::kInOut, axes, dtypes, std::move(doc));
  }
  template <auto... Path>
  Declare& inout(std::string name, const std::string& axes, const SameAs& same, std::string doc) {
    return operand<Path...>(std::move(name), Role::kInOut, axes, same, std::move(doc));
  }

  // A bool, integer or float attribute; integers and floats have an inclusive range.
  template <auto... Path>
  Declare& attribute(std::string name, double low, double high, std::string doc) {
    using Value = MemberType<Path...>;
    Attribute attribute = accessors<Path...>();
    attribute.kind = std::is_same_v<Value, bool> ? AttributeKind::kBool
                     : std::is_integral_v<Value> ? AttributeKind::kInt
                                                 : AttributeKind::kFloat;
    attribute.low = low;
    attribute.high = high;
    add_attribute(std::move(attribute), std::move(name), std::move(doc));
    return *this;
  }
  template <auto... Path>
  Declare& attribute(std::string name, std::string doc) {
    return attribute<Path...>(std::move(name), 0, 1, std::move(doc));
  }
  // An enum attribute with the names of its values 0, 1, …
  template <auto... Path>
  Declare& choice(std::string name, std::vector<std::string_view> choices, std::string doc) {
    Attribute attribute = accessors<Path...>();
    attribute.kind = AttributeKind::kEnum;
    attribute.high = static_cast<double>(choices.size()) - 1;
    attribute.choices = std::move(choices);
    add_attribute(std::move(attribute), std::move(name), std::move(doc));
    return *this;
  }

  // Modifiers of the operand declared last.
  Declare& optional() { return last_operand().optional = true, *this; }
  Declare& dense() { return last_operand().strides = Strides::kDense, *this; }
  Declare& host() { return last_operand().on_host = true, *this; }
  Declare& hnd(const std::string& axes) { return last_operand().axes_hnd = parse_axes(axes), *this; }
  Declare& may_alias(const std::string& input) {
    last_operand().may_alias.push_back(op_.operand(input));
    return *this;
  }
  // fill(const TensorView&, const Axes&, const Args&, Random&)
  template <class F>
  Declare& fill(F) {
    last_operand().fill = [](const TensorView& view, const Axes& axes, const void* args, Random& random) {
      F{}(view, axes, *static_cast<const Args*>(args), random);
    };
    return *this;
  }
  // The operand or attribute declared last belongs to plan.
  Declare& planned() {
    (attribute_last_ ? op_.attributes.back().phase : last_operand().phase) = Phase::kPlan;
    return *this;
  }

  // Hooks of the operator; see the fields of Operator.
  template <class F>
  Declare& is_hnd(F) {
    op_.is_hnd = [](const void* args) { return F{}(*static_cast<const Args*>(args)); };
    return *this;
  }
  // A relation in words, for the documentation; `check` enforces it.
  Declare& rule(std::string text) { return op_.rules.push_back(std::move(text)), *this; }
  template <class F>
  Declare& check(F) {
    op_.check = [](const Operator& op, const void* args, const Axes& axes, Phase phase) {
      F{}(op, *static_cast<const Args*>(args), axes, phase);
    };
    return *this;
  }
  template <class F>
  Declare& cost(F) {
    op_.cost = [](const void* args, const Axes& axes) { return F{}(*static_cast<const Args*>(args), axes); };
    return *this;
  }
  // F(args, axes, operand), or with the device behind where its implementations differ.
  template <class F>
  Declare& accuracy(F) {
    op_.accuracy = [](const void* args, const Axes& axes, int operand, [[maybe_unused]] DeviceType device) {
      const Args& given = *static_cast<const Args*>(args);
      if constexpr (std::is_invocable_v<F, const Args&, const Axes&, int, DeviceType>)
        return F{}(given, axes, operand, device);
      else
        return F{}(given, axes, operand);
    };
    return *this;
  }
  template <class F>
  Declare& reference(F) {
    op_.reference = [](const void* args, const Axes& axes, Expected& expected) {
      F{}(*static_cast<const Args*>(args), axes, expected);
    };
    return *this;
  }
  template <class F>
  Declare& backend(Backend backend, F) {
    op_.backends[static_cast<std::size_t>(backend)] = [](const void* args, const Axes& axes,
                                                         const Launch& launch) {
      F{}(*static_cast<const Args*>(args), axes, launch);
    };
    return *this;
  }
  // The class that plans and runs an operator which splits into the two, where their arguments are, and the
  // backends that it serves.
  template <class Class, auto Plan, auto Run>
  Declare& planned_by(std::initializer_list<Backend> backends) {
    for (Backend backend : backends) op_.planned_backends[static_cast<std::size_t>(backend)] = true;
    struct PlannedClass : Planned {
      void plan(const void* args, const Launch& launch) override {
        object.plan(static_cast<const Args*>(args)->*Plan, launch);
      }
      void run(const void* args, const Launch& launch) override {
        object.run(static_cast<const Args*>(args)->*Run, launch);
      }
      std::size_t workspace_bytes() const override { return object.workspace_bytes(); }
      Class object;
    };
    op_.make_planned = [] { return std::shared_ptr<Planned>(std::make_shared<PlannedClass>()); };
    return *this;
  }
  Declare& routine(Routine routine) { return op_.routines.push_back(std::move(routine)), *this; }

 private:
  template <auto... Path>
  Declare& operand(std::string name, Role role, const std::string& axes, DtypeSet dtypes, std::string doc) {
    add_operand(std::move(name), role, axes, std::move(doc),
                [](void* args) -> TensorView& { return member<Path...>(*static_cast<Args*>(args)); });
    last_operand().dtypes = dtypes;
    return *this;
  }
  template <auto... Path>
  Declare& operand(std::string name, Role role, const std::string& axes, const SameAs& same,
                   std::string doc) {
    operand<Path...>(std::move(name), role, axes, DtypeSet{}, std::move(doc));
    last_operand().same_dtype_as = op_.operand(same.operand);
    last_operand().dtypes = op_.operands[static_cast<std::size_t>(last_operand().same_dtype_as)].dtypes;
    return *this;
  }
  template <auto... Path>
  static Attribute accessors() {
    using Value = MemberType<Path...>;
    Attribute attribute;
    attribute.get = [](const void* args) {
      return static_cast<double>(member<Path...>(*static_cast<const Args*>(args)));
    };
    attribute.set = [](void* args, double value) {
      member<Path...>(*static_cast<Args*>(args)) = static_cast<Value>(value);
    };
    return attribute;
  }
  template <auto... Path, class A>
  static auto& member(A& args) {
    return (args.*....*Path);
  }
  template <auto... Path>
  using MemberType = std::remove_cvref_t<decltype(member<Path...>(std::declval<Args&>()))>;
};

}  // namespace strobe::op
