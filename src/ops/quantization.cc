#include "strobe/quantization.h"

#include <algorithm>
#include <string>

#include "core/message.h"
#include "cpu/packbits_kernel.h"
#include "cpu/parallel.h"
#include "op/call.h"
#include "op/declare.h"
#include "ops/operand_bytes.h"
#include "ops/quantization_cuda.h"
#include "reference/packbits.h"

namespace strobe::inline v1 {
namespace {

using op::Axes;
using op::Case;
using op::Cost;
using op::Declare;
using op::fill_normal;
using op::fill_poison;
using op::Operator;
using op::Phase;
using op::Problem;
using op::Random;
using op::reject;
using op::ValueRule;

constexpr op::DtypeSet kBooleans = {Dtype::kBool, Dtype::kU8};
constexpr int kElements = 0, kBytes = 1;  // axis numbers in these declarations

std::int64_t bytes_for(std::int64_t elements) { return (elements + 7) / 8; }

// Each worker takes whole words of the kernel.
constexpr std::int64_t kWordBytes = 8;

void packbits_cpu(const PackbitsArgs& args, const Axes& axes) {
  const std::int64_t bytes = axes[kBytes];
  auto* run = *cpu::packbits_bytes;
  cpu::parallel_ranges(
      (bytes + kWordBytes - 1) / kWordBytes, 9 * kWordBytes, [&](std::int64_t begin, std::int64_t end) {
        run(args.x.as<std::uint8_t>(), axes[kElements], args.y.as<std::uint8_t>(), begin * kWordBytes,
            std::min(bytes, end * kWordBytes), args.bitorder == BitOrder::kBig);
      });
}

// Ranges of bytes rather than of segments: the segments of one batch may differ a thousandfold.
void segment_packbits_cpu(const SegmentPackbitsArgs& args, const Axes& axes) {
  const auto* indptr = args.indptr.as<std::int32_t>();
  const auto* packed = args.packed_indptr.as<std::int32_t>();
  const std::int64_t segments = args.indptr.shape[0] - 1;
  auto* run = *cpu::packbits_bytes;
  cpu::parallel_ranges(axes[kBytes], 9, [&](std::int64_t begin, std::int64_t end) {
    std::int64_t i = std::upper_bound(packed, packed + segments + 1, begin) - packed - 1;
    for (; i < segments && packed[i] < end; ++i)
      run(args.x.as<std::uint8_t>() + indptr[i], indptr[i + 1] - indptr[i],
          args.y.as<std::uint8_t>() + packed[i], std::max<std::int64_t>(begin - packed[i], 0),
          std::min<std::int64_t>(end, packed[i + 1]) - packed[i], args.bitorder == BitOrder::kBig);
  });
}

void check_packbits(const Operator& op, const PackbitsArgs&, const Axes& axes) {
  const std::int64_t bytes = bytes_for(axes[kElements]);
  if (axes[kBytes] != bytes)
    reject(op, "y", "expected {} bytes for the {} elements of x, got {}", bytes, axes[kElements],
           axes[kBytes]);
}

// The index arrays, where the host can read them.
void check_segments(const Operator& op, const SegmentPackbitsArgs& args, const Axes& axes) {
  if (args.indptr.shape[0] == 1 && axes[kBytes] != 0)
    reject(op, "y", "expected 0 bytes for no segments, got {}", axes[kBytes]);
  if (args.indptr.device.type != DeviceType::kCpu) return;
  const auto* indptr = args.indptr.as<std::int32_t>();
  const auto* packed = args.packed_indptr.as<std::int32_t>();
  const std::int64_t last = args.indptr.shape[0] - 1;
  if (indptr[0] != 0) reject(op, "indptr", "expected 0 at [0], got {}", indptr[0]);
  if (packed[0] != 0) reject(op, "packed_indptr", "expected 0 at [0], got {}", packed[0]);
  for (std::int64_t i = 0; i < last; ++i) {
    if (indptr[i + 1] < indptr[i])
      reject(op, "indptr", "expected values that never decrease, got {} at [{}] after {}", indptr[i + 1],
             i + 1, indptr[i]);
    const std::int64_t want = packed[i] + bytes_for(indptr[i + 1] - indptr[i]);
    if (packed[i + 1] != want)
      reject(op, "packed_indptr", "expected {} at [{}] ({} + {} elements in bytes), got {}", want, i + 1,
             packed[i], indptr[i + 1] - indptr[i], packed[i + 1]);
  }
  if (indptr[last] != axes[kElements])
    reject(op, "indptr", "expected {} (the size of x) at [{}], got {}", axes[kElements], last, indptr[last]);
  if (packed[last] != axes[kBytes])
    reject(op, "y", "expected {} bytes (the last of packed_indptr), got {}", packed[last], axes[kBytes]);
}

Tensor& add_tensor(Problem& problem, Dtype dtype, std::int64_t size) {
  return problem.tensors.emplace_back(dtype, std::initializer_list<std::int64_t>{size});
}

// x, y and bitorder, which both operators have.
template <class Args>
void make_operands(Problem& problem, Args& args, const Case& values, std::int64_t elements,
                   std::int64_t bytes, Random& random) {
  args.x = add_tensor(problem, values.dtype("dtype"), elements);
  fill_normal(args.x, random);
  args.y = add_tensor(problem, Dtype::kU8, bytes);
  fill_poison(args.y);
  const std::string& order = values.text("bitorder");
  if (order != "big" && order != "little")
    fail(ErrorKind::kInvalidArgument, "bitorder: expected big or little, got '{}'", order);
  args.bitorder = order == "big" ? BitOrder::kBig : BitOrder::kLittle;
}

Problem finish(Problem problem, std::shared_ptr<void> args) {
  problem.args = std::move(args);
  validate(*problem.op, problem.args.get(), Phase::kRun, problem.axes);
  problem.run = [op = problem.op, held = problem.args](const Launch& launch) {
    op::call_erased(*op, held.get(), launch);
  };
  return problem;
}

Problem make_packbits(const Operator& op, const Case& values, Random& random) {
  Problem problem{.op = &op};
  auto args = std::make_shared<PackbitsArgs>();
  const std::int64_t elements = values.integer("num_elements");
  make_operands(problem, *args, values, elements, bytes_for(elements), random);
  return finish(std::move(problem), std::move(args));
}

// Masks of requests that differ in length by up to a factor of three.
Problem make_segment_packbits(const Operator& op, const Case& values, Random& random) {
  Problem problem{.op = &op};
  auto args = std::make_shared<SegmentPackbitsArgs>();
  const std::int64_t batch_size = values.integer("batch_size"), mean = values.integer("segment_length");
  args->indptr = add_tensor(problem, Dtype::kI32, batch_size + 1);
  args->packed_indptr = add_tensor(problem, Dtype::kI32, batch_size + 1);
  auto* indptr = args->indptr.as<std::int32_t>();
  indptr[0] = 0;
  for (std::int64_t i = 0; i < batch_size; ++i)
    indptr[i + 1] = indptr[i] + static_cast<std::int32_t>(random.integer(mean / 2, mean + mean / 2));
  const std::int64_t bytes = segment_packbits_indptr(args->indptr, args->packed_indptr);
  make_operands(problem, *args, values, indptr[batch_size], bytes, random);
  return finish(std::move(problem), std::move(args));
}

const Operator& packbits_operator() {
  using Args = PackbitsArgs;
  static const Operator op =
      Declare<Args>("packbits", "quantization", "Packs booleans into the bits of bytes.")
          .formula("bit k of y[j], counted from the highest (big) or the lowest (little), is x[8 j + k] != 0")
          .function("strobe::packbits")
          .axis("num_elements", 1 << 25, "booleans")
          .axis("num_bytes", 1 << 22, "bytes of their bits")
          .input<&Args::x>("x", "num_elements", kBooleans, "booleans, or bytes of which any but 0 is true")
          .output<&Args::y>("y", "num_bytes", Dtype::kU8, "their bits; those beyond the last element are 0")
          .choice<&Args::bitorder>("bitorder", {"big", "little"}, "where the first of eight elements goes")
          .rule("num_bytes = ceil(num_elements / 8)")
          .check([](const Operator& self, const Args& args, const Axes& axes, Phase) {
            check_packbits(self, args, axes);
          })
          .cost(
              [](const Args& args, const Axes&) { return Cost{.bytes = op::operand_bytes(args.x, args.y)}; })
          .accuracy([](const Args&, const Axes&, int) { return op::Accuracy{}; })
          .reference([](const Args& args, const Axes&, op::Expected& expected) {
            reference::packbits(args, expected);
          })
          .backend(Backend::kCpu,
                   [](const Args& args, const Axes& axes, const Launch&) { packbits_cpu(args, axes); })
          .backend(Backend::kCudaSm80, [](const Args& args, const Axes&,
                                          const Launch& launch) { op::run_packbits_cuda(args, launch); })
          .routine(
              {.name = "packbits",
               .doc = "Packs random booleans.",
               .parameters = {{"num_elements", "33554432", "booleans", ValueRule::integer(0)},
                              {"dtype", "bool", "dtype of x: bool or u8", ValueRule::dtype(kBooleans)},
                              {"bitorder", "big", "big or little", ValueRule::choice({"big", "little"})}},
               .make = make_packbits})
          .build();
  return op;
}

const Operator& segment_packbits_operator() {
  using Args = SegmentPackbitsArgs;
  static const Operator op =
      Declare<Args>("segment_packbits", "quantization",
                    "Packs segments of booleans, each into bytes of its own.")
          .formula("bit k of y[packed_indptr[i] + j], counted as in packbits, is x[indptr[i] + 8 j + k] != 0")
          .function("strobe::segment_packbits")
          .axis("num_elements", 1 << 25, "booleans of all segments")
          .axis("num_bytes", 1 << 22, "bytes of their bits")
          .axis("batch_size", 16, "segments")
          .input<&Args::x>("x", "num_elements", kBooleans, "booleans, or bytes of which any but 0 is true")
          .input<&Args::indptr>("indptr", "batch_size+1", Dtype::kI32, "where the segments begin in x")
          .input<&Args::packed_indptr>("packed_indptr", "batch_size+1", Dtype::kI32,
                                       "where they begin in y, from segment_packbits_indptr")
          .output<&Args::y>("y", "num_bytes", Dtype::kU8,
                            "their bits; those beyond the end of a segment are 0")
          .choice<&Args::bitorder>("bitorder", {"big", "little"}, "where the first of eight elements goes")
          .rule("indptr begins with 0, never decreases and ends with num_elements")
          .rule(
              "packed_indptr[i + 1] = packed_indptr[i] + ceil((indptr[i + 1] - indptr[i]) / 8), from 0 to "
              "num_bytes")
          .check([](const Operator& self, const Args& args, const Axes& axes, Phase) {
            check_segments(self, args, axes);
          })
          .cost([](const Args& args, const Axes&) {
            return Cost{.bytes = op::operand_bytes(args.x, args.indptr, args.packed_indptr, args.y)};
          })
          .accuracy([](const Args&, const Axes&, int) { return op::Accuracy{}; })
          .reference([](const Args& args, const Axes&, op::Expected& expected) {
            reference::segment_packbits(args, expected);
          })
          .backend(Backend::kCpu, [](const Args& args, const Axes& axes,
                                     const Launch&) { segment_packbits_cpu(args, axes); })
          .backend(Backend::kCudaSm80,
                   [](const Args& args, const Axes&, const Launch& launch) {
                     op::run_segment_packbits_cuda(args, launch);
                   })
          .routine(
              {.name = "segment_packbits",
               .doc =
                   "Packs random booleans in segments between half and one and a half times the mean length.",
               .parameters = {{"batch_size", "16", "segments", ValueRule::integer(0)},
                              {"segment_length", "2097152", "mean number of booleans in a segment",
                               ValueRule::integer(0)},
                              {"dtype", "bool", "dtype of x: bool or u8", ValueRule::dtype(kBooleans)},
                              {"bitorder", "little", "big or little", ValueRule::choice({"big", "little"})}},
               .make = make_segment_packbits})
          .build();
  return op;
}

}  // namespace

void packbits(const PackbitsArgs& args, const Launch& launch) { op::call(packbits_operator(), args, launch); }
void segment_packbits(const SegmentPackbitsArgs& args, const Launch& launch) {
  op::call(segment_packbits_operator(), args, launch);
}

std::int64_t segment_packbits_indptr(const TensorView& indptr, const TensorView& packed_indptr) {
  for (const auto& [name, view] : {std::pair<const char*, const TensorView&>{"indptr", indptr},
                                   std::pair<const char*, const TensorView&>{"packed_indptr", packed_indptr}})
    if (view.rank != 1 || view.dtype != Dtype::kI32 || !view.is_dense() ||
        view.device.type != DeviceType::kCpu || view.shape[0] < 1 || view.shape[0] != indptr.shape[0])
      fail(ErrorKind::kInvalidArgument,
           "segment_packbits_indptr: {}: expected i32[batch_size + 1] in host memory, got {}", name,
           describe(view));
  const auto* from = indptr.as<std::int32_t>();
  auto* to = packed_indptr.as<std::int32_t>();
  if (from[0] != 0)
    fail(ErrorKind::kInvalidArgument, "segment_packbits_indptr: indptr: expected 0 at [0], got {}", from[0]);
  to[0] = 0;
  for (std::int64_t i = 0; i + 1 < indptr.shape[0]; ++i) {
    if (from[i + 1] < from[i])
      fail(ErrorKind::kInvalidArgument,
           "segment_packbits_indptr: indptr: expected values that never decrease, got {} at [{}] after {}",
           from[i + 1], i + 1, from[i]);
    to[i + 1] = to[i] + static_cast<std::int32_t>(bytes_for(from[i + 1] - from[i]));
  }
  return to[indptr.shape[0] - 1];
}

}  // namespace strobe::inline v1

namespace strobe::op {

void declare_quantization(Registry& registry) {
  registry.add(packbits_operator());
  registry.add(segment_packbits_operator());
}

}  // namespace strobe::op
