// The host side of CUDA operators where there is no GPU: rehearsals ask for kernels without running them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "cuda/architecture.h"
#include "jit/rehearsal.h"
#include "op/call.h"
#include "op/device_operands.h"
#include "op/routine.h"
#include "ops/cuda_rows.h"
#include "strobe/strobe.h"
#include "support/sweep.h"

namespace strobe {
namespace {

using test::error_message;
using testing::HasSubstr;

constexpr Device kGpu{DeviceType::kCuda, 0};

TensorView fake(std::uintptr_t address, Dtype dtype, std::initializer_list<std::int64_t> shape,
                Device device = kGpu) {
  return TensorView(reinterpret_cast<void*>(address), dtype, shape, device);
}

bool has_cuda(const op::Operator& op) { return op.has(Backend::kCudaSm80); }

// Every routine with a CUDA backend, at its default sizes and at awkward ones, asks for kernels that exist
// (jit::get throws otherwise).
TEST(CudaHost, EveryRoutineAsksForKernelsThatExist) {
  int routines = 0;
  for (const op::Operator* op : op::registry().all()) {
    if (!has_cuda(*op)) continue;
    for (const op::Routine& routine : op::routines_of(*op))
      for (const char* dtype : {"f32", "f16", "bf16"}) {
        op::Case values(routine.parameters);
        for (const op::Parameter& parameter : routine.parameters) {
          if (parameter.name == "num_tokens" || parameter.name == "nnz") values.set(parameter.name, "37");
          if (parameter.name == "vocab_size") values.set(parameter.name, "5000");
          if (parameter.name == "hidden") values.set(parameter.name, "1000");
          if (parameter.name == "num_elements") values.set(parameter.name, "1000");
          if (parameter.name == "segment_length") values.set(parameter.name, "100");
          if (parameter.name == "kv_len" || parameter.name == "qo_len") values.set(parameter.name, "90");
          if (parameter.name == "max_position") values.set(parameter.name, "100");
          const bool of_integers =
              routine.name.find("packbits") != std::string::npos || routine.name == "verify_tree_greedy";
          if (parameter.name == "dtype" && !of_integers) values.set(parameter.name, dtype);
        }
        op::Random random(1);
        op::Problem problem = routine.make(*op, values, random);
        for (const op::Operand& operand : op->operands)
          if (operand.of(problem.args.get()).given() && !operand.on_host)
            operand.view(problem.args.get()).device = kGpu;
        op::set_planned_device(*op, problem.args.get(), kGpu);
        for (const cuda::ArchitectureFacts& facts : cuda::kArchitectures) {
          jit::Rehearsal rehearsal(facts.architecture);
          if (problem.plan) problem.plan();
          problem.run();
          EXPECT_FALSE(rehearsal.variants().empty()) << routine.name << " on " << facts.name;
          for (const jit::Variant& variant : rehearsal.variants())
            EXPECT_TRUE(jit::exists(variant)) << jit::describe(variant);
        }
        ++routines;
      }
  }
  EXPECT_GE(routines, 3 * 15);
}

TEST(CudaHost, KernelsFitTheirArchitectures) {
  for (const jit::KernelSource* source : jit::kernel_registry().all())
    for (const cuda::ArchitectureFacts& facts : cuda::kArchitectures)
      for (const jit::Variant& variant : jit::all_variants(*source, facts.architecture)) {
        const jit::LaunchFacts launch = source->launch_facts(variant.constants(), facts.architecture);
        EXPECT_LE(launch.threads, 1024) << jit::describe(variant);
        EXPECT_EQ(launch.threads % 32, 0) << jit::describe(variant);
        EXPECT_LE(launch.shared_bytes, facts.shared_bytes_per_block) << jit::describe(variant);
      }
}

TEST(CudaHost, DivisorsDivideExactly) {
  for (std::int64_t value :
       {1, 2, 3, 5, 7, 10, 64, 80, 127, 128, 641, 65535, 65536, 1000003, (1 << 30) + 1, 2147483647}) {
    const kernel::Divisor by = op::divisor(value);
    for (std::int64_t n :
         {std::int64_t{0}, std::int64_t{1}, value - 1, value, value + 1, 2 * value - 1, 2 * value,
          std::int64_t{123456789}, std::int64_t{2147483646}, std::int64_t{2147483647}}) {
      if (n > 2147483647) continue;
      const auto quotient = kernel::quotient(static_cast<std::uint32_t>(n), by);
      EXPECT_EQ(quotient, n / value) << n << " / " << value;
      EXPECT_EQ(kernel::remainder(static_cast<std::uint32_t>(n), quotient, by), n % value)
          << n << " % " << value;
    }
  }
}

TEST(CudaHost, VectorsAreAsWideAsAlignmentAllows) {
  const auto width = [](std::uintptr_t address, std::int64_t hidden, std::int64_t pitch) {
    TensorView view = fake(address, Dtype::kBf16, {4, hidden});
    view.strides[0] = pitch;
    return op::VectorWidth(8).extent(hidden).rows(view).elements();
  };
  EXPECT_EQ(width(4096, 128, 128), 8);
  EXPECT_EQ(width(4096, 128, 132), 4);
  EXPECT_EQ(width(4098, 128, 128), 1);
  EXPECT_EQ(width(4104, 128, 128), 4);
  EXPECT_EQ(width(4096, 130, 136), 2);
  EXPECT_EQ(width(4096, 4099, 4104), 1);
}

TEST(CudaHost, WrongDevicesAndAddressesAreNamed) {
  const TensorView x = fake(4096, Dtype::kBf16, {2, 8}), w = fake(8192, Dtype::kBf16, {8}),
                   y = fake(16384, Dtype::kBf16, {2, 8});
  const TensorView on_host = fake(8192, Dtype::kBf16, {8}, Device{});
  const TensorView on_other = fake(8192, Dtype::kBf16, {8}, Device{DeviceType::kCuda, 1});
  EXPECT_THAT(error_message([&] { rmsnorm({.input = x, .weight = on_host, .out = y}); }),
              HasSubstr("rmsnorm: weight: expected device cuda:0 (that of input)"));
  EXPECT_THAT(error_message([&] { rmsnorm({.input = x, .weight = on_other, .out = y}); }),
              HasSubstr("rmsnorm: weight: expected device cuda:0 (that of input)"));
  EXPECT_THAT(error_message([&] { rmsnorm({.input = x, .weight = w, .out = y}, Backend::kCpu); }),
              HasSubstr("backend 'cpu' does not serve tensors on cuda:0"));
  EXPECT_THAT(error_message([&] {
                rmsnorm({.input = fake(4097, Dtype::kBf16, {2, 8}), .weight = w, .out = y});
              }),
              HasSubstr("rmsnorm: input: expected data at a multiple of its 2 bytes an element"));
}

// Index arrays on a GPU are not read by the host (these addresses would fault).
TEST(CudaHost, IndexValuesOnAGpuAreNotRead) {
  jit::Rehearsal rehearsal(cuda::Architecture::kSm90a);
  const TensorView q = fake(1 << 20, Dtype::kBf16, {4, 2, 64}), k = fake(2 << 20, Dtype::kBf16, {4, 2, 64});
  const TensorView cache = fake(3 << 20, Dtype::kBf16, {8, 16, 2, 64}),
                   v_cache = fake(4 << 20, Dtype::kBf16, {8, 16, 2, 64});
  const auto indices = [](std::uintptr_t address, std::int64_t count) {
    return fake(address, Dtype::kI32, {count});
  };
  apply_rope(
      {.q = q, .k = k, .indptr = indices(4096, 3), .offsets = indices(8192, 2), .q_out = q, .k_out = k});
  apply_rope_with_cos_sin_cache({.q = q,
                                 .k = k,
                                 .positions = indices(4096, 4),
                                 .cos_sin_cache = fake(5 << 20, Dtype::kF32, {100, 64}),
                                 .q_out = q,
                                 .k_out = k});
  append_paged_kv_cache({.append_key = q,
                         .append_value = k,
                         .batch_indices = indices(4096, 4),
                         .positions = indices(8192, 4),
                         .k_cache = cache,
                         .v_cache = v_cache,
                         .kv_indices = indices(12288, 8),
                         .kv_indptr = indices(16384, 3),
                         .kv_last_page_len = indices(20480, 2)});
  get_batch_indices_positions({.append_indptr = indices(4096, 3),
                               .seq_lens = indices(8192, 2),
                               .batch_indices = indices(12288, 4),
                               .positions = indices(16384, 4)});
  get_seq_lens(
      {.kv_indptr = indices(4096, 3), .kv_last_page_len = indices(8192, 2), .seq_lens = indices(12288, 2)});
  segment_packbits({.x = fake(1 << 20, Dtype::kBool, {64}),
                    .indptr = indices(4096, 3),
                    .packed_indptr = indices(8192, 3),
                    .y = fake(2 << 20, Dtype::kU8, {8})});
  EXPECT_EQ(rehearsal.variants().size(), 6u);
}

}  // namespace
}  // namespace strobe
