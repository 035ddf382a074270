// Elements of a view where the CPU can read them.
#pragma once

#include <cstddef>
#include <vector>

#include "strobe/tensor.h"

namespace strobe::cuda {

class HostView {
 public:
  // A CPU view stays where it is. Device memory is copied, with its gaps, once the work enqueued on the
  // stream is done; not to be used while the stream is capturing.
  HostView(const TensorView& view, Stream stream);

  const TensorView& view() const { return view_; }

 private:
  std::vector<std::byte> copy_;
  TensorView view_;
};

}  // namespace strobe::cuda
