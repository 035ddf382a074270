#include "cuda/host_view.h"

#include "core/strided_copy.h"
#include "cuda/capture.h"
#include "cuda/device.h"
#include "cuda/driver.h"

namespace strobe::cuda {

HostView::HostView(const TensorView& view, Stream stream) : view_(view) {
  if (!view.given() || view.device.type == DeviceType::kCpu) return;
  const auto element = static_cast<std::int64_t>(size_of(view.dtype));
  const Span span = span_of(view);
  copy_.resize(static_cast<std::size_t>(span.elements() * element));
  view_.device = {};
  view_.data = copy_.data() - span.low * element;
  if (copy_.empty()) return;
  const ContextGuard guard(view.device.index);
  const auto from = reinterpret_cast<DevicePointer>(view.as<char>() + span.low * element);
  check(driver().cuMemcpyDtoHAsync_v2(copy_.data(), from, copy_.size(), handle_of(stream)),
        "cuMemcpyDtoHAsync");
  check(driver().cuStreamSynchronize(handle_of(stream)), "cuStreamSynchronize");
}

}  // namespace strobe::cuda
