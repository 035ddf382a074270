#include "ops/quantization_cuda.h"

#include "ops/cuda_rows.h"
#include "packbits/packbits_params.h"

namespace strobe::op {
namespace {

constexpr int kThreads = 256, kItems = 4;  // of kernels/packbits/packbits.cuh
constexpr int kUnits[] = {1, 4};

constexpr jit::Constant kConstants[] = {{"kBig", "bool", kBools, print_bool},
                                        {"kSegments", "bool", kBools, print_bool},
                                        {"kUnit", "int", kUnits}};
constexpr jit::KernelSource kPackbits = {
    .name = "packbits",
    .header = "packbits/packbits.cuh",
    .constants = kConstants,
    .valid = [](jit::Values values, cuda::Architecture) { return !values[1] || values[2] == 1; },
    .launch_facts = [](jit::Values, cuda::Architecture) { return jit::LaunchFacts{.threads = kThreads}; }};

bool aligned(const TensorView& view, std::uintptr_t bytes) {
  return reinterpret_cast<std::uintptr_t>(view.data) % bytes == 0;
}

void launch_packbits(const kernel::PackbitsParams& params, BitOrder order, int unit, Device device,
                     const Launch& launch) {
  if (params.bytes == 0) return;
  launch_kernel(kPackbits, {order == BitOrder::kBig, params.indptr != nullptr, unit}, gpu_of(device),
                ceil_div(params.bytes, std::int64_t{kThreads} * kItems * unit), params, launch);
}

}  // namespace

void run_packbits_cuda(const PackbitsArgs& args, const Launch& launch) {
  const kernel::PackbitsParams params{.x = args.x.as<unsigned char>(),
                                      .y = args.y.as<unsigned char>(),
                                      .elements = args.x.shape[0],
                                      .bytes = args.y.shape[0]};
  const int unit = aligned(args.x, 16) && aligned(args.y, 4) ? 4 : 1;
  launch_packbits(params, args.bitorder, unit, args.x.device, launch);
}

void run_segment_packbits_cuda(const SegmentPackbitsArgs& args, const Launch& launch) {
  const kernel::PackbitsParams params{.x = args.x.as<unsigned char>(),
                                      .y = args.y.as<unsigned char>(),
                                      .elements = args.x.shape[0],
                                      .bytes = args.y.shape[0],
                                      .indptr = args.indptr.as<std::int32_t>(),
                                      .packed_indptr = args.packed_indptr.as<std::int32_t>(),
                                      .segments = static_cast<std::int32_t>(args.indptr.shape[0] - 1)};
  launch_packbits(params, args.bitorder, 1, args.x.device, launch);
}

void declare_quantization_kernels(jit::KernelRegistry& registry) { registry.add(kPackbits); }

}  // namespace strobe::op
