#include "stream.h"

#include <deque>
#include <mutex>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "device.h"

namespace strobe::cuda {
struct StreamObject {
  int device = 0;
  bool blocking = true;  // in order with the default stream
  std::deque<emulated::Work> queue;
  bool capturing = false, spoilt = false;
  CaptureMode mode = kCaptureGlobal;
  std::thread::id capturer;
  std::vector<emulated::Work> captured;
};
struct EventObject {
  int device = 0;
  StreamHandle stream = nullptr;  // where it was recorded; null: nowhere yet
  int pending = 0;                // records that are not done
  int waiters = 0;                // waits of other streams that are not over
};
struct Graph {
  std::vector<emulated::Work> work;
};
struct GraphExec {
  std::vector<emulated::Work> work;
};
}  // namespace strobe::cuda

namespace emulated {
namespace {

using namespace strobe::cuda;

// Held while work is done: kernels of all streams run one after the other.
std::recursive_mutex mutex;
StreamObject default_streams[kMostDevices] = {{.device = 0}, {.device = 1}};
std::set<StreamHandle> streams = {&default_streams[0], &default_streams[1]};
thread_local CaptureMode thread_mode = kCaptureGlobal;

bool is_default(StreamHandle stream) {
  return stream >= default_streams && stream < default_streams + kMostDevices;
}

// The stream meant by the handle; null when it is none of the current context.
StreamHandle resolve(StreamHandle stream) {
  if (stream == nullptr) return &default_streams[current_context()->device];
  return streams.count(stream) != 0 && stream->device == current_context()->device ? stream : nullptr;
}

Result step(StreamObject& stream) {
  const Work work = std::move(stream.queue.front());
  stream.queue.pop_front();
  return work();
}

Result finish(StreamObject& stream) {
  while (!stream.queue.empty())
    if (const Result result = step(stream); result != kSuccess) return result;
  return lost();
}

// The default stream and the blocking ones wait for each other.
Result finish_what_comes_before(StreamHandle stream) {
  for (StreamHandle other : streams) {
    const bool ordered = other != stream && other->device == stream->device && other->blocking &&
                         stream->blocking && (is_default(other) || is_default(stream));
    if (!ordered) continue;
    if (other->capturing) {
      other->spoilt = true;
      return kCaptureImplicit;
    }
    if (const Result result = finish(*other); result != kSuccess) return result;
  }
  return kSuccess;
}

Result begin_call() {
  if (const Result result = lost(); result != kSuccess) return result;
  return kSuccess;
}

}  // namespace

Result enqueue(StreamHandle handle, Work work) {
  const std::lock_guard lock(mutex);
  if (const Result result = need_context(); result != kSuccess) return result;
  const StreamHandle stream = resolve(handle);
  if (stream == nullptr) return kInvalidHandle;
  if (stream->capturing) {
    if (stream->spoilt) return kSpoiltCapture;
    stream->captured.push_back(std::move(work));
    return kSuccess;
  }
  if (const Result result = finish_what_comes_before(stream); result != kSuccess) return result;
  stream->queue.push_back(std::move(work));
  return kSuccess;
}

Result finish_all() {
  const std::lock_guard lock(mutex);
  for (StreamHandle stream : streams)
    if (const Result result = finish(*stream); result != kSuccess) return result;
  return kSuccess;
}

Result unsafe_in_capture() {
  const std::lock_guard lock(mutex);
  if (thread_mode == kCaptureRelaxed) return kSuccess;
  bool forbidden = false;
  for (StreamHandle stream : streams) {
    if (!stream->capturing || stream->mode == kCaptureRelaxed) continue;
    const bool own = stream->capturer == std::this_thread::get_id();
    const bool global = stream->mode == kCaptureGlobal && thread_mode == kCaptureGlobal;
    if (!own && !global) continue;
    stream->spoilt = true;
    forbidden = true;
  }
  return forbidden ? kCaptureUnsupported : kSuccess;
}

}  // namespace emulated

using namespace emulated;

EXPORT Result cuStreamCreate(StreamHandle* stream, unsigned flags) {
  if (const Result result = need_context(); result != kSuccess) return result;
  if (flags > 1) return kInvalidValue;
  const std::lock_guard lock(mutex);
  *stream = new StreamObject{.device = current_context()->device, .blocking = flags == 0};
  streams.insert(*stream);
  return kSuccess;
}
EXPORT Result cuStreamDestroy_v2(StreamHandle stream) {
  const std::lock_guard lock(mutex);
  if (streams.count(stream) == 0 || is_default(stream)) return kInvalidHandle;
  const Result result = finish(*stream);
  streams.erase(stream);
  delete stream;
  return result;
}
EXPORT Result cuStreamSynchronize(StreamHandle handle) {
  const std::lock_guard lock(mutex);
  if (const Result result = need_context(); result != kSuccess) return result;
  if (const Result result = unsafe_in_capture(); result != kSuccess) return result;
  const StreamHandle stream = resolve(handle);
  if (stream == nullptr) return kInvalidHandle;
  return stream->capturing ? kCaptureUnsupported : finish(*stream);
}
EXPORT Result cuStreamIsCapturing(StreamHandle handle, CaptureStatus* status) {
  const std::lock_guard lock(mutex);
  if (const Result result = need_context(); result != kSuccess) return result;
  const StreamHandle stream = resolve(handle);
  if (stream == nullptr) return kInvalidHandle;
  *status = !stream->capturing ? kCaptureNone : stream->spoilt ? kCaptureInvalidated : kCaptureActive;
  return kSuccess;
}
EXPORT Result cuStreamBeginCapture_v2(StreamHandle handle, CaptureMode mode) {
  const std::lock_guard lock(mutex);
  if (const Result result = need_context(); result != kSuccess) return result;
  const StreamHandle stream = handle == nullptr ? nullptr : resolve(handle);
  if (handle == nullptr) return kCaptureUnsupported;  // the legacy default stream
  if (stream == nullptr) return kInvalidHandle;
  if (stream->capturing) return kInvalidValue;
  stream->capturing = true;
  stream->spoilt = false;
  stream->mode = mode;
  stream->capturer = std::this_thread::get_id();
  stream->captured.clear();
  return kSuccess;
}
EXPORT Result cuStreamEndCapture(StreamHandle handle, GraphHandle* graph) {
  const std::lock_guard lock(mutex);
  if (const Result result = need_context(); result != kSuccess) return result;
  const StreamHandle stream = handle == nullptr ? nullptr : resolve(handle);
  if (stream == nullptr || !stream->capturing) return kInvalidValue;
  stream->capturing = false;
  *graph = nullptr;
  if (stream->spoilt) return kSpoiltCapture;
  *graph = new Graph{std::move(stream->captured)};
  return kSuccess;
}
EXPORT Result cuThreadExchangeStreamCaptureMode(CaptureMode* mode) {
  std::swap(thread_mode, *mode);
  return kSuccess;
}
EXPORT Result cuGraphInstantiateWithFlags(GraphExecHandle* exec, GraphHandle graph,
                                          unsigned long long flags) {
  if (const Result result = begin_call(); result != kSuccess) return result;
  if (graph == nullptr || flags != 0) return kInvalidValue;
  *exec = new GraphExec{graph->work};
  return kSuccess;
}
EXPORT Result cuGraphLaunch(GraphExecHandle exec, StreamHandle stream) {
  if (exec == nullptr) return kInvalidValue;
  for (const Work& work : exec->work)
    if (const Result result = enqueue(stream, work); result != kSuccess) return result;
  return kSuccess;
}
// What was launched keeps its own copy of the work.
EXPORT Result cuGraphExecDestroy(GraphExecHandle exec) {
  delete exec;
  return kSuccess;
}
EXPORT Result cuGraphDestroy(GraphHandle graph) {
  delete graph;
  return kSuccess;
}

EXPORT Result cuEventCreate(EventHandle* event, unsigned) {
  if (const Result result = need_context(); result != kSuccess) return result;
  *event = new EventObject{.device = current_context()->device};
  return kSuccess;
}
EXPORT Result cuEventDestroy_v2(EventHandle event) {
  const std::lock_guard lock(mutex);
  const Result result = event->pending > 0 || event->waiters > 0 ? finish_all() : kSuccess;
  delete event;
  return result;
}
EXPORT Result cuEventRecord(EventHandle event, StreamHandle handle) {
  const std::lock_guard lock(mutex);
  if (const Result result = need_context(); result != kSuccess) return result;
  const StreamHandle stream = resolve(handle);
  if (stream == nullptr || event->device != stream->device) return kInvalidHandle;
  if (stream->capturing) return explain(kNotSupported, "the emulation records no events in graphs");
  event->stream = stream;
  ++event->pending;
  return enqueue(handle, [event] {
    --event->pending;
    return kSuccess;
  });
}
EXPORT Result cuStreamWaitEvent(StreamHandle handle, EventHandle event, unsigned flags) {
  const std::lock_guard lock(mutex);
  if (const Result result = need_context(); result != kSuccess) return result;
  if (flags != 0) return kInvalidValue;
  const StreamHandle stream = resolve(handle);
  if (stream == nullptr) return kInvalidHandle;
  if (stream->capturing) return explain(kNotSupported, "the emulation waits for no events in graphs");
  if (event->pending == 0) return kSuccess;
  ++event->waiters;
  return enqueue(handle, [event] {
    --event->waiters;
    while (event->pending > 0)
      if (const Result result = step(*event->stream); result != kSuccess) return result;
    return kSuccess;
  });
}
// Time passes with every question.
EXPORT Result cuEventQuery(EventHandle event) {
  const std::lock_guard lock(mutex);
  if (const Result result = begin_call(); result != kSuccess) return result;
  if (const Result result = unsafe_in_capture(); result != kSuccess) return result;
  if (event->pending == 0) return kSuccess;
  if (const Result result = step(*event->stream); result != kSuccess) return result;
  return kErrorNotReady;
}
EXPORT Result cuEventSynchronize(EventHandle event) {
  const std::lock_guard lock(mutex);
  if (const Result result = begin_call(); result != kSuccess) return result;
  if (const Result result = unsafe_in_capture(); result != kSuccess) return result;
  while (event->pending > 0)
    if (const Result result = step(*event->stream); result != kSuccess) return result;
  return kSuccess;
}
// There is no clock: work takes no time that means anything.
EXPORT Result cuEventElapsedTime(float* milliseconds, EventHandle start, EventHandle end) {
  const std::lock_guard lock(mutex);
  if (const Result result = begin_call(); result != kSuccess) return result;
  if (start->device != end->device || start->stream == nullptr || end->stream == nullptr)
    return kInvalidHandle;
  if (start->pending > 0 || end->pending > 0) return kErrorNotReady;
  *milliseconds = 0.001f;
  return kSuccess;
}
