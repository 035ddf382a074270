#include <string>

#include "ops/cuda_rows.h"
#include "ops/sampling_cuda.h"
#include "ops/speculative_call.h"
#include "sampling/speculative_params.h"
#include "sampling/tree_walk.h"

namespace strobe::op {
namespace {

using kernel::Draft;

// The constants of kernels/sampling/speculative.cuh, in the order of its source.
enum { kInput, kDraft, kVector, kCluster };

constexpr int kDrafts[] = {static_cast<int>(Draft::kChain), static_cast<int>(Draft::kTree),
                           static_cast<int>(Draft::kGreedyTree)};
constexpr int kVectors[] = {1, 4, 8};
constexpr int kClusters[] = {1, 4};
constexpr int kSharedBytes = kernel::kSamplingSharedBytes + static_cast<int>(sizeof(kernel::DraftTreeWalk));

std::string print_draft(int value) {
  constexpr std::string_view kNames[] = {"kChain", "kTree", "kGreedyTree"};
  return fmt::format("strobe::kernel::Draft::{}", kNames[value]);
}

constexpr jit::Constant kConstants[] = {
    {"kInput", kDtypeType, kFloatDtypes, print_dtype},
    {"kDraft", "strobe::kernel::Draft", kDrafts, print_draft},
    {"kVector", "int", kVectors},
    {"kCluster", "int", kClusters},
};

// A greedy one reads no probabilities: there is one kernel of it.
bool valid(jit::Values values, cuda::Architecture architecture) {
  if (values[kDraft] == static_cast<int>(Draft::kGreedyTree))
    return values[kInput] == static_cast<int>(Dtype::kF32) && values[kVector] == 1 && values[kCluster] == 1;
  if (values[kVector] != 1 && values[kVector] != widest_vector(static_cast<Dtype>(values[kInput])))
    return false;
  return values[kCluster] == 1 || cuda::facts(architecture).has_tma;
}

constexpr jit::KernelSource kSpeculative = {.name = "speculative",
                                            .header = "sampling/speculative.cuh",
                                            .types = "sampling/speculative_kind.h",
                                            .constants = kConstants,
                                            .valid = valid,
                                            .launch_facts = [](jit::Values, cuda::Architecture) {
                                              return jit::LaunchFacts{.threads = kernel::kSamplingThreads,
                                                                      .shared_bytes = kSharedBytes};
                                            }};

kernel::TokenArray tokens(const TensorView& view) { return {view.as<char>(), view.dtype == Dtype::kI64}; }

kernel::ProbRows rows(const TensorView& view) {
  const auto bytes = static_cast<std::int64_t>(size_of(view.dtype));
  return {view.as<char>(), view.strides[0] * bytes, view.strides[1] * bytes};
}

std::int32_t* numbers(const TensorView& view) { return view.given() ? view.as<std::int32_t>() : nullptr; }

void put_random(kernel::SpeculativeParams& params, const RandomNumbers& random) {
  params.seed = row_number(random.seeds, random.seed);
  params.offset = row_number(random.offsets, random.offset);
}

void put_tree(kernel::SpeculativeParams& params, const DraftTree& tree, const TreeResult& result) {
  params.tokens = tokens(tree.candidates);
  params.places = static_cast<std::int32_t>(tree.candidates.shape[1]);
  params.index = tokens(tree.retrieve_index);
  params.child = tokens(tree.retrieve_next_token);
  params.sibling = tokens(tree.retrieve_next_sibling);
  params.valid = result.valid.given() ? result.valid.as<unsigned char>() : nullptr;
  params.predicts = result.predicts.as<std::int32_t>();
  params.num_predicts = result.predicts.shape[0];
  params.accept_index = result.accept_index.as<std::int32_t>();
  params.accept_token_num = result.accept_token_num.as<std::int32_t>();
  params.steps = static_cast<std::int32_t>(result.accept_index.shape[1]);
}

struct Shape {
  Draft draft;
  Dtype dtype = Dtype::kF32;
  int vector = 1;
  std::int64_t requests = 0;
};

// A row of probabilities as sampling cuts it, over one block or four.
void launch_speculative(std::string_view op_name, kernel::SpeculativeParams& params, const Shape& shape,
                        const TensorView& probs, const Gpu& gpu, const Launch& launch) {
  if (shape.requests == 0) return;
  int cluster = 1;
  if (probs.given()) {
    const SamplingChoice choice = choose_rows(
        {.dtype = shape.dtype, .rows = shape.requests, .vocab_size = probs.shape[2], .vector = shape.vector},
        gpu.architecture, gpu.sm_count, kClusters[1]);
    cluster = choice.cluster;
    params.cut = row_cut(probs, choice);
    params.cut.vocab_size = static_cast<std::int32_t>(probs.shape[2]);
  }
  if (shape.requests > kMaxRows / cluster)
    fail(ErrorKind::kUnsupported, "{}: {} requests on a GPU, at most {} are possible", op_name,
         shape.requests, kMaxRows / cluster);
  const int vector = probs.given() && shape.vector == widest_vector(shape.dtype) ? shape.vector : 1;
  const cuda::Kernel& kernel =
      jit::get(kSpeculative, {static_cast<int>(shape.dtype), static_cast<int>(shape.draft), vector, cluster},
               gpu.device, launch.stream);
  cuda::launch(kernel,
               {.grid = {.x = static_cast<std::uint32_t>(shape.requests * cluster)},
                .cluster = {.x = static_cast<std::uint32_t>(cluster)},
                .shared_bytes = kSharedBytes,
                .pdl = cuda::facts(gpu.architecture).overlaps_launches,
                .stream = launch.stream},
               params);
}

}  // namespace

void run_speculative_cuda(const ChainSpeculativeSamplingArgs& args, const Launch& launch) {
  const TensorView& ids = args.draft_token_ids;
  VectorWidth width(widest_vector(args.target_probs.dtype));
  width.extent(args.target_probs.shape[2]).rows(args.target_probs).rows(args.draft_probs);
  kernel::SpeculativeParams params{
      .target = rows(args.target_probs),
      .draft = rows(args.draft_probs),
      .tokens = tokens(ids),
      .places = static_cast<std::int32_t>(ids.shape[1]),
      .valid = args.valid.given() ? args.valid.as<unsigned char>() : nullptr,
      .out = args.output_token_ids.as<char>(),
      .accepted = numbers(args.accepted),
      .emitted = numbers(args.emitted),
      .accumulate = args.accumulate,
  };
  put_random(params, args.random);
  launch_speculative("chain_speculative_sampling", params,
                     {Draft::kChain, args.target_probs.dtype, width.elements(), ids.shape[0]},
                     args.target_probs, gpu_of(ids.device), launch);
}

void run_speculative_cuda(const TreeSpeculativeSamplingArgs& args, const Launch& launch) {
  VectorWidth width(widest_vector(args.target_probs.dtype));
  width.extent(args.target_probs.shape[2]).rows(args.target_probs);
  kernel::SpeculativeParams params{.target = rows(args.target_probs)};
  put_tree(params, args.tree, args.result);
  put_random(params, args.random);
  launch_speculative("tree_speculative_sampling", params,
                     {Draft::kTree, args.target_probs.dtype, width.elements(), args.tree.candidates.shape[0]},
                     args.target_probs, gpu_of(args.target_probs.device), launch);
}

void run_speculative_cuda(const VerifyTreeGreedyArgs& args, const Launch& launch) {
  kernel::SpeculativeParams params{};
  put_tree(params, args.tree, args.result);
  params.predicted = tokens(args.target_predict);
  launch_speculative("verify_tree_greedy", params,
                     {.draft = Draft::kGreedyTree, .requests = args.tree.candidates.shape[0]}, {},
                     gpu_of(args.target_predict.device), launch);
}

void declare_speculative_kernels(jit::KernelRegistry& registry) { registry.add(kSpeculative); }

}  // namespace strobe::op
