// Runs declared operators on a GPU with the data of host tensors, and holds them against the FP64 reference.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/strided_copy.h"
#include "cuda/device.h"
#include "cuda/device_buffer.h"
#include "cuda/driver.h"
#include "cuda/graph.h"
#include "op/call.h"
#include "op/check.h"
#include "op/routine.h"
#include "op/validate.h"
#include "support/layouts.h"

namespace strobe::test {

inline constexpr Device kGpu{DeviceType::kCuda, 0};

// Why no test can run on a GPU here; empty when it can.
inline std::string missing_gpu() {
  if (!cuda::driver_status().problem.empty()) return cuda::driver_status().problem;
  if (cuda::device_count() == 0) return "the driver finds no GPU";
  if (!cuda::device_facts(kGpu).architecture) return "no kernels are compiled for this GPU";
  return "";
}

// A suite that skips where there is no GPU, and says why.
class GpuTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string reason = missing_gpu(); !reason.empty()) GTEST_SKIP() << reason;
  }
};

// The bytes of a host view's memory, gaps and all, on the GPU.
class DeviceCopy {
 public:
  // The copy begins `shift` bytes behind an aligned address, so that no access is aligned that was by luck.
  DeviceCopy(const TensorView& host, std::size_t shift) : host_(host), shift_(shift) {
    const Span span = span_of(host);
    const auto element = static_cast<std::int64_t>(size_of(host.dtype));
    first_ = host.as<char>() + span.low * element;
    before_.resize(static_cast<std::size_t>(span.elements() * element));
    if (!before_.empty()) std::memcpy(before_.data(), first_, before_.size());
    buffer_ = cuda::DeviceBuffer(kGpu, before_.size() + shift + 16);
    if (!before_.empty()) buffer_.upload(before_, shift);
  }

  TensorView view() const {
    TensorView view = host_;
    view.data = static_cast<char*>(buffer_.data()) + shift_ + (host_.as<char>() - first_);
    view.device = kGpu;
    return view;
  }

  // The GPU's memory as it was.
  void reset() {
    if (!before_.empty()) buffer_.upload(before_, shift_);
  }

  // Fetches the view's elements into the host's. Whether all other bytes, and the elements too unless they
  // are `written`, are what they were.
  bool download(bool written) {
    std::vector<std::byte> after(before_.size());
    if (!after.empty()) buffer_.download(after, shift_);
    if (written)
      for_each_element([&](std::size_t offset, std::size_t bytes) {
        std::memcpy(before_.data() + offset, after.data() + offset, bytes);
        std::memcpy(first_ + offset, after.data() + offset, bytes);
      });
    return before_ == after;
  }

 private:
  template <class F>
  void for_each_element(F f) const {
    const auto bytes = static_cast<std::int64_t>(size_of(host_.dtype));
    for (std::int64_t i = 0; i < host_.size(); ++i) {
      std::int64_t rest = i, offset = 0;
      for (int axis = host_.rank - 1; axis >= 0; --axis) {
        const auto a = static_cast<std::size_t>(axis);
        offset += rest % host_.shape[a] * host_.strides[a];
        rest /= host_.shape[a];
      }
      f(static_cast<std::size_t>(host_.as<char>() + offset * bytes - first_),
        static_cast<std::size_t>(bytes));
    }
  }

  TensorView host_;
  std::size_t shift_;
  char* first_;
  std::vector<std::byte> before_;
  cuda::DeviceBuffer buffer_;
};

struct GpuRun {
  std::size_t shift = 0;  // bytes by which every operand is misaligned, rounded up to whole elements
  bool graph = false;     // captured, then replayed
};

// Moves the operands of a call to the GPU, calls `run(stream)` with `args` naming them there, and brings back
// what it has written: `args` then names the host tensors again.
template <class Run>
void run_on_gpu(const op::Operator& op, void* args, const std::string& label, const GpuRun& how, Run run) {
  std::map<void*, std::unique_ptr<DeviceCopy>> copies;  // operands with the same data work in place
  std::vector<TensorView> host;
  for (const op::Operand& operand : op.operands) {
    TensorView& view = operand.view(args);
    host.push_back(view);
    if (!view.given() || operand.on_host) continue;
    std::unique_ptr<DeviceCopy>& copy = copies[view.data];
    const std::size_t element = size_of(view.dtype);
    if (copy == nullptr)
      copy = std::make_unique<DeviceCopy>(view, (how.shift + element - 1) / element * element);
    view = copy->view();
  }
  const auto restore = [&] {
    for (std::size_t i = 0; i < host.size(); ++i) op.operands[i].view(args) = host[i];
  };
  try {
    const cuda::OwnedStream stream(kGpu);
    if (how.graph) {
      run(stream);  // compiles, which a capture cannot
      stream.synchronize();
      const cuda::Graph graph(kGpu, stream, [&] { run(stream); });
      for (int replay = 0; replay < 2; ++replay) {
        for (const auto& [data, copy] : copies) copy->reset();
        graph.launch(stream);
        stream.synchronize();
      }
    } else {
      run(stream);
      stream.synchronize();
    }
  } catch (...) {
    restore();
    throw;
  }
  restore();
  std::map<void*, bool> written;
  for (std::size_t i = 0; i < host.size(); ++i)
    if (host[i].given()) written[host[i].data] = written[host[i].data] || op.operands[i].written();
  for (const auto& [data, copy] : copies)
    EXPECT_TRUE(copy->download(written[data])) << label << ": wrote outside the outputs";
}

// Whether an output stands in the place of an input.
inline bool in_place(const op::Operator& op, const op::Operand& output, const void* args) {
  return std::any_of(op.operands.begin(), op.operands.end(), [&](const op::Operand& other) {
    return &other != &output && other.of(args).given() && other.of(args).data == output.of(args).data;
  });
}

// Runs `run(stream)`, a call of the operator with `args`, on the GPU; its result is in the host tensors
// afterwards.
template <class Run>
op::CheckResult check_run_on_gpu(const op::Operator& op, void* args, const std::string& label,
                                 const GpuRun& how, Run run) {
  op::Axes axes;
  if (op.make_planned != nullptr) op::validate(op, args, op::Phase::kPlan, axes);
  op::validate(op, args, op::Phase::kRun, axes);
  for (const op::Operand& operand : op.operands)
    if (operand.role == op::Role::kOutput && operand.of(args).given() && !in_place(op, operand, args))
      op::fill_poison(operand.of(args));
  op::Random random(7);
  const op::Expected expected = op::expect(op, args, axes, 1 << 20, random);
  run_on_gpu(op, args, label, how, run);
  return op::compare(op, args, axes, expected, DeviceType::kCuda);
}

inline op::CheckResult check_on_gpu(const op::Operator& op, void* args, const std::string& label,
                                    const GpuRun& how = {}) {
  return check_run_on_gpu(op, args, label, how, [&](Stream stream) { op::call_erased(op, args, stream); });
}

template <class Args>
op::CheckResult check_on_gpu(std::string_view operator_name, Args args, const GpuRun& how = {}) {
  return check_on_gpu(*op::registry().find(operator_name), &args, std::string(operator_name), how);
}

inline void expect_matches_on_gpu(const op::Operator& op, void* args, const std::string& label,
                                  const GpuRun& how = {}) {
  const op::CheckResult result = check_on_gpu(op, args, label, how);
  EXPECT_TRUE(result.passed) << label << ": " << result.worst;
  EXPECT_GT(result.elements, 0) << label;
}

// The layouts that a sweep tries.
enum class Layout { kDense, kStrided, kInPlace };

// A routine's problem on fresh random data, on the GPU.
inline void expect_routine_matches_on_gpu(std::string_view routine_name, const Values& values,
                                          Layout layout = Layout::kDense, const GpuRun& how = {}) {
  const op::NamedRoutine routine = op::find_routine(routine_name);
  op::Case parameters(routine.routine.parameters);
  std::string label(routine_name);
  for (const auto& [name, value] : values) {
    parameters.set(name, value);
    label += " --" + std::string(name) + " " + value;
  }
  op::Random random(1);
  const op::Problem problem = routine.routine.make(*routine.op, parameters, random);
  void* args = problem.args.get();
  std::vector<StridedCopy> copies;
  for (const op::Operand& operand : problem.op->operands) {
    TensorView& view = operand.view(args);
    if (!view.given()) continue;
    if (layout == Layout::kStrided && operand.strides == op::Strides::kRows) {
      copies.emplace_back(view, operand.axes.any_leading);
      view = copies.back().view();
    }
    if (layout == Layout::kInPlace && !operand.may_alias.empty())
      view = problem.op->operands[static_cast<std::size_t>(operand.may_alias.back())].of(args);
  }
  expect_matches_on_gpu(*problem.op, args, label, how);
}

}  // namespace strobe::test
