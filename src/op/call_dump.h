// What STROBE_LOGLEVEL=10 keeps of a call: enough for `strobe replay` to make it again. One folder a call,
//   STROBE_DUMP_DIR/<date>_<time>_pid<process>_<operator>_call<number>/
//     call.json             operator, attributes, and of every operand dtype, shape, strides and role
//     inputs.safetensors    what the call reads, written before it runs
//     outputs.safetensors   what it has written; missing when the call crashed
#pragma once

#include <memory>
#include <string>

#include "op/operator.h"

namespace strobe::op {

class CallDump {
 public:
  // Null below level 10, for operators that STROBE_DUMP_INCLUDE and _EXCLUDE leave out, when a limit
  // (STROBE_DUMP_MAX_COUNT, STROBE_DUMP_MAX_SIZE_GB) is reached, under stream capture, and when the files
  // cannot be written; the log says why. A dump of the run phase holds the operands of plan too.
  static std::unique_ptr<CallDump> begin(const Operator& op, const void* args, Phase phase, Backend backend,
                                         Stream stream = {});

  // To be called when the call has been made: waits for the stream and keeps what was written.
  void complete();

 private:
  CallDump(const Operator& op, const void* args, Phase phase, Stream stream)
      : op_(op), args_(args), phase_(phase), stream_(stream) {}
  bool keeps(const Operand& operand) const;
  void save_inputs(Backend backend, std::uint64_t number);
  std::string description(Backend backend, std::uint64_t number) const;

  const Operator& op_;
  const void* args_;
  Phase phase_;
  Stream stream_;
  std::string folder_;
  std::string description_;
};

}  // namespace strobe::op
