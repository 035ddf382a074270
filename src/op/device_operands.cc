#include "op/device_operands.h"

#include <cstring>
#include <map>
#include <vector>

#include "core/strided_copy.h"
#include "cuda/device_buffer.h"

namespace strobe::op {
namespace {

// One operand's memory on the device, gaps included. Operands with the same data work in place and share it.
class DeviceOperand {
 public:
  DeviceOperand(const TensorView& host, Device device) : host_(host) {
    const auto element = static_cast<std::int64_t>(size_of(host.dtype));
    const Span span = span_of(host);
    first_ = host.as<std::byte>() + span.low * element;
    bytes_ = static_cast<std::size_t>(span.elements() * element);
    buffer_ = cuda::DeviceBuffer(device, bytes_);
    buffer_.upload({first_, bytes_});
  }

  TensorView view(const TensorView& host) const {
    TensorView view = host;
    view.data = static_cast<std::byte*>(buffer_.data()) + (host.as<std::byte>() - first_);
    view.device = buffer_.device();
    return view;
  }
  void download() { buffer_.download({first_, bytes_}); }

 private:
  TensorView host_;
  std::byte* first_ = nullptr;
  std::size_t bytes_ = 0;
  cuda::DeviceBuffer buffer_;
};

// The views that `args` had, put back at the end.
class HostViews {
 public:
  HostViews(const Operator& op, void* args) : op_(op), args_(args) {
    for (const Operand& operand : op.operands) views_.push_back(operand.of(args));
  }
  ~HostViews() {
    for (std::size_t i = 0; i < views_.size(); ++i) op_.operands[i].view(args_) = views_[i];
  }
  HostViews(const HostViews&) = delete;
  HostViews& operator=(const HostViews&) = delete;

 private:
  const Operator& op_;
  void* args_;
  std::vector<TensorView> views_;
};

}  // namespace

void run_on_device(const Operator& op, void* args, Device device, const std::function<void()>& run) {
  if (device.type == DeviceType::kCpu) return run();
  std::map<void*, DeviceOperand> operands;
  const HostViews host(op, args);
  for (const Operand& operand : op.operands) {
    TensorView& view = operand.view(args);
    if (!view.given() || operand.on_host) continue;
    view = operands.try_emplace(view.data, view, device).first->second.view(view);
  }
  run();
  cuda::synchronize(device, {});
  for (auto& [data, operand] : operands) operand.download();
}

}  // namespace strobe::op
