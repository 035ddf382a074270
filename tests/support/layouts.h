// The problems of sweep.h in other layouts: strided views with gaps that must stay as they are, and outputs
// in place of inputs.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "op/validate.h"
#include "support/sweep.h"

namespace strobe::test {

// A copy of a view whose rows lie apart and whose leading axes have changed order in memory; the gaps hold
// NaN.
class StridedCopy {
 public:
  // `split`: the first axis becomes two where its extent is even.
  StridedCopy(const TensorView& dense, bool split) {
    std::vector<std::int64_t> shape(dense.shape.begin(), dense.shape.begin() + dense.rank);
    if (split && dense.rank < kMaxRank && shape[0] % 2 == 0) {
      shape[0] /= 2;
      shape.insert(shape.begin() + 1, 2);
    }
    std::vector<std::int64_t> strides(shape.size(), 1);
    std::int64_t pitch = shape.back() + kGap;
    for (std::size_t axis = 0; axis + 1 < shape.size(); ++axis) {
      strides[axis] = pitch;
      pitch = pitch * shape[axis] + kGap;
    }
    memory_ = Tensor(dense.dtype, {pitch});
    std::memset(memory_.as<char>(), 0xff, static_cast<std::size_t>(memory_.view().bytes()));
    view_ = TensorView(memory_.as<char>(), dense.dtype, shape, strides);
    const auto* from = dense.as<char>();
    for_each_element([&](char* element, std::size_t bytes) {
      std::memcpy(element, from, bytes);
      from += bytes;
    });
    before_ = memory_.clone();
  }

  const TensorView& view() const { return view_; }

  // Whether memory outside the view (and, unless it is written, inside) is what it was.
  bool kept(bool written) {
    if (written)
      for_each_element([&](char* element, std::size_t bytes) {
        std::memcpy(before_.as<char>() + (element - memory_.as<char>()), element, bytes);
      });
    return std::memcmp(before_.as<char>(), memory_.as<char>(),
                       static_cast<std::size_t>(memory_.view().bytes())) == 0;
  }

 private:
  static constexpr std::int64_t kGap = 5;  // elements: no row but the first is aligned

  // In row-major order of the view.
  template <class F>
  void for_each_element(F f) {
    const std::size_t bytes = size_of(view_.dtype);
    for (std::int64_t i = 0; i < view_.size(); ++i) {
      std::int64_t rest = i, offset = 0;
      for (int axis = view_.rank - 1; axis >= 0; --axis) {
        const auto a = static_cast<std::size_t>(axis);
        offset += rest % view_.shape[a] * view_.strides[a];
        rest /= view_.shape[a];
      }
      f(view_.as<char>() + offset * static_cast<std::int64_t>(bytes), bytes);
    }
  }

  Tensor memory_, before_;
  TensorView view_;
};

// With every operand a strided copy; leading axes "num_tokens..." of even extent are split in two.
inline void expect_strided_matches_reference(std::string_view routine_name, Values values,
                                             std::uint64_t seed = 1) {
  for_each_problem(routine_name, values, seed,
                   [](op::Problem& problem, op::Random& random, const std::string& label) {
                     std::vector<StridedCopy> copies;
                     for (const op::Operand& operand : problem.op->operands) {
                       TensorView& view = operand.view(problem.args.get());
                       if (!view.given() || operand.strides == op::Strides::kDense) continue;
                       copies.emplace_back(view, operand.axes.any_leading);
                       view = copies.back().view();
                     }
                     problem.axes = {};
                     op::validate(*problem.op, problem.args.get(), op::Phase::kRun, problem.axes);
                     expect_run_matches_reference(problem, random, label + ", strided");
                     std::size_t copy = 0;
                     for (const op::Operand& operand : problem.op->operands) {
                       if (!operand.of(problem.args.get()).given() || operand.strides == op::Strides::kDense)
                         continue;
                       EXPECT_TRUE(copies[copy++].kept(operand.written()))
                           << label << ", strided: wrote outside " << operand.name;
                     }
                   });
}

// With every output that may be an input in that input's place: the last one that it may be.
inline void expect_in_place_matches_reference(std::string_view routine_name, Values values,
                                              std::uint64_t seed = 1) {
  for_each_problem(
      routine_name, values, seed, [](op::Problem& problem, op::Random& random, const std::string& label) {
        void* args = problem.args.get();
        for (const op::Operand& operand : problem.op->operands)
          if (!operand.may_alias.empty())
            operand.view(args) =
                problem.op->operands[static_cast<std::size_t>(operand.may_alias.back())].of(args);
        problem.axes = {};
        op::validate(*problem.op, args, op::Phase::kRun, problem.axes);
        expect_run_matches_reference(problem, random, label + ", in place");
      });
}

}  // namespace strobe::test
