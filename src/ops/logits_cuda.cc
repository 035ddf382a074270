#include <algorithm>

#include "logits/logits_params.h"
#include "ops/cuda_rows.h"
#include "ops/logits_call.h"

namespace strobe::op {
namespace {

constexpr int kThreads = 256;  // of kernels/logits/process_logits.cuh
constexpr int kVectors[] = {1, 4, 8};

constexpr jit::Constant kConstants[] = {
    {"kType", kDtypeType, kFloatDtypes, print_dtype},
    {"kVector", "int", kVectors},
};

constexpr jit::KernelSource kProcessLogits = {
    .name = "process_logits",
    .header = "logits/process_logits.cuh",
    .types = "tile/dtype.h",
    .constants = kConstants,
    .valid =
        [](jit::Values values, cuda::Architecture) {
          return values[1] == 1 || values[1] == widest_vector(static_cast<Dtype>(values[0]));
        },
    .launch_facts = [](jit::Values, cuda::Architecture) { return jit::LaunchFacts{.threads = kThreads}; }};

kernel::StateRows state_rows(const TensorView& state, const TensorView& indices) {
  if (!state.given()) return {};
  return {.data = state.as<std::int32_t>(),
          .stride = state.strides[0],
          .indices = indices.given() ? indices.as<std::int32_t>() : nullptr,
          .rows = static_cast<std::int32_t>(std::min(state.shape[0], kMaxRows))};
}

kernel::PenaltyParameter parameter(const TensorView& rows, float value) {
  return {rows.given() ? rows.as<float>() : nullptr, value};
}

std::int64_t row_pitch(const TensorView& view) {
  return view.strides[0] * static_cast<std::int64_t>(size_of(view.dtype));
}

}  // namespace

void run_logits_cuda(const LogitsCall& call, const Launch& launch) {
  const std::int64_t rows = call.logits.shape[0], vocab_size = call.logits.shape[1];
  if (rows == 0) return;
  const Gpu gpu = gpu_of(call.logits.device);
  VectorWidth width(widest_vector(call.logits.dtype));
  width.extent(vocab_size).rows(call.logits).rows(call.out);
  if (call.penalties != nullptr) width.rows(call.penalties->counts);
  const int vector = width.all_or_one();
  const std::int64_t row_vectors = vocab_size / vector;
  if (rows > kMaxRows / row_vectors)
    fail(ErrorKind::kUnsupported, "{}: {} rows of {} tokens on a GPU, at most {} are possible", call.op_name,
         rows, vocab_size, kMaxRows / row_vectors);
  kernel::ProcessLogitsParams params{.input = call.logits.as<char>(),
                                     .out = call.out.as<char>(),
                                     .input_stride = row_pitch(call.logits),
                                     .out_stride = row_pitch(call.out),
                                     .vectors = static_cast<std::uint32_t>(rows * row_vectors),
                                     .row_vectors = divisor(row_vectors),
                                     .bitmask = state_rows(call.bitmask, call.bitmask_indices)};
  if (const PenaltiesArgs* args = call.penalties; args != nullptr) {
    params.counts = state_rows(args->counts, args->slots);
    params.prompt_mask = state_rows(args->prompt_mask, args->slots);
    params.repetition = parameter(args->repetition_penalty_rows, args->repetition_penalty);
    params.frequency = parameter(args->frequency_penalty_rows, args->frequency_penalty);
    params.presence = parameter(args->presence_penalty_rows, args->presence_penalty);
  }
  launch_kernel(kProcessLogits, {static_cast<int>(call.logits.dtype), vector}, gpu,
                ceil_div(rows * row_vectors, kThreads), params, launch);
}

void declare_logits_kernels(jit::KernelRegistry& registry) { registry.add(kProcessLogits); }

}  // namespace strobe::op
