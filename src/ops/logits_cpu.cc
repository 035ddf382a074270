#include "cpu/logits_kernel.h"
#include "cpu/parallel.h"
#include "ops/logits_call.h"

namespace strobe::op {
namespace {

// The words of the row's state; null when it has none. `bad` when it asks for one that is not there.
const std::int32_t* find(const TensorView& state, const TensorView& indices, std::int64_t row, bool& bad) {
  if (!state.given()) return nullptr;
  const std::int64_t index = indices.given() ? indices.at<std::int32_t>(row) : row;
  if (index < 0) return nullptr;
  bad |= index >= state.shape[0];
  return bad ? nullptr : state.as<std::int32_t>() + index * state.strides[0];
}

float parameter(const TensorView& rows, float value, std::int64_t row) {
  return rows.given() ? rows.at<float>(row) : value;
}

void set_penalties(const PenaltiesArgs& args, std::int64_t row, cpu::LogitsRow& to) {
  to.counts = find(args.counts, args.slots, row, to.bad);
  to.prompt_mask = reinterpret_cast<const std::uint32_t*>(find(args.prompt_mask, args.slots, row, to.bad));
  if (to.counts == nullptr) return;
  to.repetition = parameter(args.repetition_penalty_rows, args.repetition_penalty, row);
  to.frequency = parameter(args.frequency_penalty_rows, args.frequency_penalty, row);
  to.presence = parameter(args.presence_penalty_rows, args.presence_penalty, row);
  to.bad |= !(to.repetition > 0) || to.frequency != to.frequency || to.presence != to.presence;
}

char* row_at(const TensorView& view, std::int64_t row) {
  return view.as<char>() + row * view.strides[0] * static_cast<std::int64_t>(size_of(view.dtype));
}

}  // namespace

void run_logits_cpu(const LogitsCall& call) {
  auto* run = *cpu::process_logits_row;
  const std::int64_t vocab_size = call.logits.shape[1];
  const auto bytes = 2 * vocab_size * static_cast<std::int64_t>(size_of(call.logits.dtype));
  cpu::parallel_ranges(call.logits.shape[0], bytes, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      cpu::LogitsRow of_row{.input = row_at(call.logits, row),
                            .out = row_at(call.out, row),
                            .vocab_size = vocab_size,
                            .dtype = call.logits.dtype};
      if (call.penalties != nullptr) set_penalties(*call.penalties, row, of_row);
      of_row.bitmask =
          reinterpret_cast<const std::uint32_t*>(find(call.bitmask, call.bitmask_indices, row, of_row.bad));
      run(of_row);
    }
  });
}

}  // namespace strobe::op
