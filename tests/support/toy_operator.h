// An operator of the tests' own, declared like any other, and a twin that is wrong by one percent.
#pragma once

#include <algorithm>

#include "core/read.h"
#include "op/call.h"
#include "op/declare.h"
#include "reference/rows.h"

namespace strobe::test {

struct ToyArgs {
  TensorView input;
  TensorView out;
  float factor = 2;
};

// out = factor * input; the kernel is wrong by kErrorPercent.
template <int kErrorPercent>
const op::Operator& toy_operator(const char* name) {
  static const op::Operator op =
      op::Declare<ToyArgs>(name, "toy", "Multiplies every element.")
          .formula("out[i, j] = factor * input[i, j]")
          .function("strobe::test::toy")
          .axis("rows", 200, "rows of the toy")
          .axis("columns", 8, "elements of a row")
          .input<&ToyArgs::input>("input", "rows, columns", Dtype::kF32, "what is multiplied")
          .output<&ToyArgs::out>("out", "rows, columns", op::same_as("input"), "the products")
          .attribute<&ToyArgs::factor>("factor", -10, 10, "multiplies")
          .rule("the toy has no rules")
          .cost([](const ToyArgs& args, const op::Axes&) {
            return op::Cost{.flops = static_cast<double>(args.input.size()),
                            .bytes = static_cast<double>(args.input.bytes() + args.out.bytes())};
          })
          .accuracy([](const ToyArgs&, const op::Axes&, int) { return op::Accuracy{}; })
          .reference([](const ToyArgs& args, const op::Axes&, op::Expected& expected) {
            reference::for_each_row(args.input, expected[0], [&](reference::Row row, double* out) {
              for (std::int64_t j = 0; j < row.size; ++j) out[j] = static_cast<double>(args.factor) * row[j];
            });
          })
          .backend(Backend::kCpu,
                   [](const ToyArgs& args, const op::Axes&, const Launch&) {
                     const float factor = args.factor * (1 + kErrorPercent / 100.0f);
                     for (std::int64_t i = 0; i < args.input.size(); ++i)
                       args.out.as<float>()[i] = factor * args.input.as<float>()[i];
                   })
          .build();
  return op;
}

// Adds "toy" and "wrong_toy" to the registry, once.
inline void declare_toys() {
  static const bool once = [] {
    op::registry().add(toy_operator<0>("toy"));
    op::registry().add(toy_operator<1>("wrong_toy"));
    return true;
  }();
  static_cast<void>(once);
}

}  // namespace strobe::test
