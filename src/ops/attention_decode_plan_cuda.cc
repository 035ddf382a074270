#include "ops/attention_decode_plan_cuda.h"

#include "cuda/capture.h"
#include "cuda/device.h"
#include "cuda/driver.h"
#include "cuda/rehearsal.h"

namespace strobe::op {
namespace {

constexpr int kThreads = 256;  // of kernels/attention/decode_plan.cuh

constexpr jit::KernelSource kPlan = {
    .name = "attention_decode_plan",
    .header = "attention/decode_plan.cuh",
    .launch_facts = [](jit::Values, cuda::Architecture) { return jit::LaunchFacts{.threads = kThreads}; }};

constexpr jit::KernelSource kCheck = {
    .name = "attention_decode_check",
    .header = "attention/decode_check.cuh",
    .launch_facts = [](jit::Values, cuda::Architecture) { return jit::LaunchFacts{.threads = kThreads}; }};

}  // namespace

DeviceDecodePlan::Layout DeviceDecodePlan::layout(const DecodeChoice& choice,
                                                  const AttentionCudaShape& shape) {
  constexpr std::size_t kAlignment = 16;
  Layout at{};
  const auto place = [&](std::size_t& offset, std::size_t count, std::size_t bytes) {
    offset = at.bytes;
    at.bytes += (count * bytes + kAlignment - 1) / kAlignment * kAlignment;
  };
  const auto merges = static_cast<std::size_t>(most_merges(choice, shape));
  at.of_requests = static_cast<std::size_t>(shape.max_batch_size) + 1;
  at.of_blocks = static_cast<std::size_t>(choice.blocks) + 1;
  at.arrivals_bytes = merges * sizeof(std::uint32_t);
  place(at.fault, 1, sizeof(kernel::IndexFault));
  place(at.counts, 1, sizeof(kernel::AttentionCounts));
  place(at.items, static_cast<std::size_t>(most_items(choice, shape)), sizeof(kernel::AttentionItem));
  place(at.runs, at.of_blocks, sizeof(kernel::AttentionRun));
  place(at.merges, merges, sizeof(kernel::AttentionMerge));
  place(at.arrivals, merges, sizeof(std::uint32_t));
  place(at.requests, at.of_requests, sizeof(kernel::AttentionRequest));
  place(at.cost, at.of_requests, sizeof(std::int64_t));
  place(at.by_request, 3 * at.of_requests, sizeof(std::int32_t));
  place(at.places, at.of_blocks, sizeof(kernel::DecodePlace));
  place(at.by_block, 3 * at.of_blocks, sizeof(std::int32_t));
  return at;
}

bool DeviceDecodePlan::holds(const DecodeChoice& choice, const AttentionCudaShape& shape,
                             Device device) const {
  return cuda::rehearsal() != nullptr ||
         (buffer_.device() == device && buffer_.bytes() >= layout(choice, shape).bytes);
}

void DeviceDecodePlan::reserve(const DecodeChoice& choice, const AttentionCudaShape& shape, Device device) {
  buffer_ = {};
  buffer_ = cuda::DeviceBuffer(device, layout(choice, shape).bytes);
}

void DeviceDecodePlan::make(const DecodeChoice& choice, const AttentionCudaShape& shape,
                            const DeviceIndices& indices, const Gpu& gpu, const Launch& launch) {
  layout_ = layout(choice, shape);
  auto* const by_request = at<std::int32_t>(layout_.by_request);
  auto* const by_block = at<std::int32_t>(layout_.by_block);
  params_ = {.qo_indptr = indices.qo_indptr,
             .kv_indptr = indices.kv_indptr,
             .last_page_len = indices.last_page_len,
             .kv_len = indices.kv_len,
             .requests = indices.requests,
             .page_size = shape.page_size,
             .query_tokens = shape.max_query_tokens,
             .qo_len = shape.max_qo_len,
             .kv_entries = indices.kv_entries,
             .options = decode_list_options(choice, shape),
             .request_list = at<kernel::AttentionRequest>(layout_.requests),
             .scratch = {.cost = at<std::int64_t>(layout_.cost),
                         .items = by_request,
                         .cut_items = by_request + layout_.of_requests,
                         .cut_rows = by_request + 2 * layout_.of_requests,
                         .places = at<kernel::DecodePlace>(layout_.places),
                         .further_items = by_block,
                         .cuts = by_block + layout_.of_blocks,
                         .first_cuts = by_block + 2 * layout_.of_blocks},
             .list = {.items = at<kernel::AttentionItem>(layout_.items),
                      .runs = at<kernel::AttentionRun>(layout_.runs),
                      .merges = at<kernel::AttentionMerge>(layout_.merges)},
             .counts = at<kernel::AttentionCounts>(layout_.counts)};
  const cuda::Kernel& kernel = jit::get(kPlan, {}, gpu.device, launch.stream);
  cuda::launch(kernel,
               {.grid = {}, .pdl = cuda::facts(gpu.architecture).overlaps_launches, .stream = launch.stream},
               params_);
  if (cuda::rehearsal() != nullptr || layout_.arrivals_bytes == 0) return;
  // Behind the plan, so that the decode kernel, which reads plans early, comes behind both.
  const cuda::ContextGuard context(gpu.device.index);
  cuda::check(cuda::driver().cuMemsetD8Async(
                  reinterpret_cast<cuda::DevicePointer>(at<std::uint32_t>(layout_.arrivals)), 0,
                  layout_.arrivals_bytes, cuda::handle_of(launch.stream)),
              "cuMemsetD8Async");
}

kernel::IndexFault DeviceDecodePlan::check(const std::int32_t* kv_indices, std::int32_t num_pages,
                                           const Gpu& gpu, const Launch& launch) const {
  kernel::IndexFault fault{};
  if (cuda::rehearsal() != nullptr) return fault;
  const kernel::DecodeCheckParams params{.plan = params_,
                                         .kv_indices = kv_indices,
                                         .num_pages = num_pages,
                                         .fault = at<kernel::IndexFault>(layout_.fault)};
  const cuda::Kernel& kernel = jit::get(kCheck, {}, gpu.device, launch.stream);
  cuda::launch(kernel, {.grid = {}, .stream = launch.stream}, params);
  cuda::synchronize(gpu.device, launch.stream);
  buffer_.download(std::as_writable_bytes(std::span(&fault, 1)), layout_.fault);
  return fault;
}

void DeviceDecodePlan::set(kernel::AttentionParams& params) const {
  params.items = at<kernel::AttentionItem>(layout_.items);
  params.runs = at<kernel::AttentionRun>(layout_.runs);
  params.merges = at<kernel::AttentionMerge>(layout_.merges);
  params.arrivals = at<std::uint32_t>(layout_.arrivals);
  params.counts = at<kernel::AttentionCounts>(layout_.counts);
}

void declare_attention_decode_plan_kernels(jit::KernelRegistry& registry) {
  registry.add(kPlan);
  registry.add(kCheck);
}

}  // namespace strobe::op
