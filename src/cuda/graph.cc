#include "cuda/graph.h"

#include "cuda/capture.h"
#include "cuda/device.h"
#include "cuda/driver.h"

namespace strobe::cuda {

Graph::~Graph() {
  if (handle_ != nullptr) driver().cuGraphExecDestroy(handle_);
}

void Graph::begin(Stream stream) {
  const ContextGuard context(ordinal_);
  check(driver().cuStreamBeginCapture_v2(handle_of(stream), kCaptureThreadLocal), "cuStreamBeginCapture");
}

void Graph::end(Stream stream) {
  const ContextGuard context(ordinal_);
  const DriverApi& api = driver();
  GraphHandle graph = nullptr;
  check(api.cuStreamEndCapture(handle_of(stream), &graph), "cuStreamEndCapture");
  const Result result = api.cuGraphInstantiateWithFlags(&handle_, graph, 0);
  api.cuGraphDestroy(graph);
  check(result, "cuGraphInstantiate");
}

void Graph::abandon(Stream stream) noexcept {
  GraphHandle graph = nullptr;
  driver().cuStreamEndCapture(handle_of(stream), &graph);
  if (graph != nullptr) driver().cuGraphDestroy(graph);
}

void Graph::launch(Stream stream) const {
  const ContextGuard context(ordinal_);
  check(driver().cuGraphLaunch(handle_, handle_of(stream)), "cuGraphLaunch");
}

}  // namespace strobe::cuda
