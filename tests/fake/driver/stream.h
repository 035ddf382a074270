// Streams: work is done as late as the calls allow, so that who does not wait for it is found out.
#pragma once

#include <functional>

#include "error.h"

namespace emulated {

using strobe::cuda::StreamHandle;
using Work = std::function<Result()>;

// Adds work to a stream of the current context (null: its default stream), or to the graph that it captures.
Result enqueue(StreamHandle stream, Work work);

// Does all that is enqueued.
Result finish_all();

// kCaptureUnsupported, and the captures under way are spoilt, when the thread may not make unsafe calls now.
Result unsafe_in_capture();

}  // namespace emulated
