#include "op/device_operands.h"

#include "core/strided_copy.h"

namespace strobe::op {

DeviceOperands::Copy DeviceOperands::make_copy(const TensorView& host, Device device) {
  const auto element = static_cast<std::int64_t>(size_of(host.dtype));
  const Span span = span_of(host);
  Copy copy{host.as<std::byte>() + span.low * element,
            cuda::DeviceBuffer(device, static_cast<std::size_t>(span.elements() * element))};
  copy.buffer.upload({copy.host, copy.buffer.bytes()});
  return copy;
}

void set_planned_device(const Operator& op, void* args, Device device) {
  for (const Attribute& attribute : op.attributes) {
    if (attribute.name == kDeviceType) attribute.set(args, static_cast<double>(device.type));
    if (attribute.name == kDeviceIndex) attribute.set(args, device.index);
  }
}

DeviceOperands::DeviceOperands(const Operator& op, void* args, Device device) : op_(op), args_(args) {
  for (const Operand& operand : op.operands) {
    const TensorView& view = operand.of(args);
    host_views_.push_back(view);
    if (view.given() && !operand.on_host && !copies_.contains(view.data))
      copies_.emplace(view.data, make_copy(view, device));
  }
  for (const Operand& operand : op.operands) {  // nothing throws from here on
    TensorView& view = operand.view(args);
    if (!view.given() || operand.on_host) continue;
    const Copy& copy = copies_.at(view.data);
    view.data = static_cast<std::byte*>(copy.buffer.data()) + (view.as<std::byte>() - copy.host);
    view.device = device;
  }
  set_planned_device(op, args, device);
}

DeviceOperands::~DeviceOperands() {
  set_planned_device(op_, args_, {});
  for (std::size_t i = 0; i < host_views_.size(); ++i) op_.operands[i].view(args_) = host_views_[i];
}

void DeviceOperands::download() const {
  for (const auto& [data, copy] : copies_) copy.buffer.download({copy.host, copy.buffer.bytes()});
}

std::shared_ptr<void> copy_args(const Operator& op, const void* args) {
  std::shared_ptr<void> copy = op.make_args();
  for (const Attribute& attribute : op.attributes) attribute.set(copy.get(), attribute.get(args));
  for (const Operand& operand : op.operands) operand.view(copy.get()) = operand.of(args);
  return copy;
}

void run_on_device(const Operator& op, void* args, Device device, const std::function<void()>& run) {
  if (device.type == DeviceType::kCpu) return run();
  const DeviceOperands operands(op, args, device);
  run();
  cuda::synchronize(device, {});
  operands.download();
}

}  // namespace strobe::op
