#include "strobe/block_sparse_attention.h"

#include <cstdint>
#include <numeric>
#include <vector>

#include "core/message.h"

namespace strobe::inline v1 {
namespace {

constexpr const char* kName = "block_sparse_attention";

void check_array(const TensorView& view, const char* name, Dtype dtype,
                 std::initializer_list<std::int64_t> shape) {
  const TensorView expected(nullptr, dtype, shape);
  bool right = view.given() && view.dtype == dtype && view.rank == expected.rank && view.is_dense() &&
               view.device.type == DeviceType::kCpu;
  for (int axis = 0; right && axis < view.rank; ++axis)
    right = view.shape[static_cast<std::size_t>(axis)] == expected.shape[static_cast<std::size_t>(axis)];
  if (!right)
    fail(ErrorKind::kInvalidArgument, "{}: {}: expected {} in host memory, got {}", kName, name,
         describe(expected), view.given() ? describe(view) : "none");
}

void check_positive(const char* name, int value) {
  if (value < 1) fail(ErrorKind::kInvalidArgument, "{}: {}: expected at least 1, got {}", kName, name, value);
}

void check_pattern(const BlockSparsePattern& pattern) {
  check_positive("block_rows", pattern.block_rows);
  check_positive("block_columns", pattern.block_columns);
  if (pattern.rows < 0 || pattern.columns < 0 || pattern.columns % pattern.block_columns != 0)
    fail(ErrorKind::kInvalidArgument,
         "{}: columns: expected a multiple of block_columns = {}, got {} (and {} rows)", kName,
         pattern.block_columns, pattern.columns, pattern.rows);
  const int row_blocks = (pattern.rows + pattern.block_rows - 1) / pattern.block_rows;
  check_array(pattern.indptr, "indptr", Dtype::kI32, {row_blocks + 1});
  check_array(pattern.indices, "indices", Dtype::kI32, {pattern.indptr.as<std::int32_t>()[row_blocks]});
  const auto* indices = pattern.indices.as<std::int32_t>();
  const int column_blocks = pattern.columns / pattern.block_columns;
  for (std::int64_t i = 0; i < pattern.indices.shape[0]; ++i)
    if (indices[i] < 0 || indices[i] >= column_blocks)
      fail(ErrorKind::kInvalidArgument, "{}: indices: expected block columns in [0, {}), got {}", kName,
           column_blocks, indices[i]);
}

// Sizes of a head's blocks, and where each begins.
struct Borders {
  Borders(const TensorView& sizes, std::int64_t head, const char* name) : begin{0} {
    const TensorView row = sizes.select(0, head);
    for (std::int64_t i = 0; i < row.shape[0]; ++i) {
      const std::int32_t size = row.as<std::int32_t>()[i];
      if (size < 0)
        fail(ErrorKind::kInvalidArgument, "{}: {}: expected sizes of 0 and more, got {}", kName, name, size);
      begin.push_back(begin.back() + size);
    }
  }
  std::vector<std::int32_t> begin;
};

void check_variable(const VariableBlockPattern& pattern, const AttentionPlanArgs& common) {
  const TensorView& mask = pattern.block_mask;
  check_positive("num_kv_heads", common.num_kv_heads);
  if (!mask.given() || mask.rank != 3)
    fail(ErrorKind::kInvalidArgument,
         "{}: block_mask: expected bool[num_kv_heads, num_row_blocks, num_column_blocks], got {}", kName,
         mask.given() ? describe(mask) : "none");
  check_array(mask, "block_mask", Dtype::kBool, {common.num_kv_heads, mask.shape[1], mask.shape[2]});
  check_array(pattern.row_sizes, "row_sizes", Dtype::kI32, {common.num_kv_heads, mask.shape[1]});
  check_array(pattern.column_sizes, "column_sizes", Dtype::kI32, {common.num_kv_heads, mask.shape[2]});
  const char* asked = common.custom_mask.given() || common.options.mask == MaskMode::kCustom ? "custom_mask"
                      : common.options.pos_encoding == PosEncoding::kAlibi || common.alibi_slopes.given()
                          ? "alibi_slopes"
                      : common.capacity.declared() ? "capacity"
                                                   : nullptr;
  if (asked != nullptr)
    fail(ErrorKind::kUnsupported, "{}: {}: expected none with variable blocks", kName, asked);
  if (common.num_qo_heads < 1 || common.num_qo_heads % common.num_kv_heads != 0)
    fail(ErrorKind::kInvalidArgument, "{}: num_qo_heads: expected a multiple of num_kv_heads = {}, got {}",
         kName, common.num_kv_heads, common.num_qo_heads);
}

void check_total(const char* name, std::int64_t head, std::int32_t total, std::int32_t of_first) {
  if (total != of_first)
    fail(ErrorKind::kInvalidArgument, "{}: {}: expected {} in all as of head 0, got {} of head {}", kName,
         name, of_first, total, head);
}

// A view of two neighbouring axes as one, where their strides allow it.
TensorView joined(const TensorView& view, const char* name, int axis) {
  const auto a = static_cast<std::size_t>(axis);
  if (view.shape[a] > 1 && view.strides[a] != view.strides[a + 1] * view.shape[a + 1])
    fail(ErrorKind::kInvalidArgument, "{}: {}: expected one head after the other without gaps, got {}", kName,
         name, describe(view));
  TensorView result = view;
  result.rank = view.rank - 1;
  result.shape[a] *= view.shape[a + 1];
  for (std::size_t i = a; i + 1 < static_cast<std::size_t>(view.rank); ++i) {
    result.strides[i] = view.strides[i + 1];
    if (i > a) result.shape[i] = view.shape[i + 1];
  }
  return result;
}

// An axis as two, the second of `size`.
TensorView split(const TensorView& view, int axis, std::int64_t size) {
  TensorView result = view;
  result.rank = view.rank + 1;
  const auto a = static_cast<std::size_t>(axis);
  for (std::size_t i = static_cast<std::size_t>(view.rank); i > a; --i) {
    result.shape[i] = view.shape[i - 1];
    result.strides[i] = view.strides[i - 1];
  }
  result.shape[a] /= size;
  result.strides[a] *= size;
  result.shape[a + 1] = size;
  return result;
}

void check_tensor(const TensorView& view, const char* name, int rank, std::int64_t extent, int axis) {
  if (!view.given() || view.rank != rank || view.shape[static_cast<std::size_t>(axis)] != extent)
    fail(ErrorKind::kInvalidArgument, "{}: {}: expected {} axes with {} at axis {} as planned, got {}", kName,
         name, rank, extent, axis, view.given() ? describe(view) : "none");
}

}  // namespace

struct BlockSparseAttention::State {
  BatchAttention attention;
  bool planned = false, variable = false;
  int rows = 0, columns = 0, page_size = 0;
  KvLayout kv_layout = KvLayout::kNhd;
  std::vector<std::int32_t> qo_indptr, kv_indptr, kv_indices, last_page_len;

  void begin(const AttentionPlanArgs& common, bool has_variable_blocks) {
    planned = false;  // a plan that fails leaves nothing to run
    variable = has_variable_blocks;
    kv_layout = common.kv_layout;
    qo_indptr.assign(1, 0);
    kv_indptr.assign(1, 0);
    kv_indices.clear();
    last_page_len.clear();
  }

  void end_request(std::int32_t query_rows) {
    last_page_len.push_back(static_cast<std::int32_t>(kv_indices.size()) == kv_indptr.back() ? 0 : page_size);
    kv_indptr.push_back(static_cast<std::int32_t>(kv_indices.size()));
    qo_indptr.push_back(qo_indptr.back() + query_rows);
  }

  void plan(AttentionPlanArgs args, const Launch& launch) {
    args.qo_indptr = TensorView::of(qo_indptr);
    args.kv_indptr = TensorView::of(kv_indptr);
    args.kv_indices = TensorView::of(kv_indices);
    args.last_page_len = TensorView::of(last_page_len);
    args.kv_len = {};
    args.page_size = page_size;
    attention.plan(args, launch);
    planned = true;
  }

  void add_blocks_of(const VariableBlockPattern& pattern, std::int64_t kv_head);
};

BlockSparseAttention::BlockSparseAttention() : state_(std::make_unique<State>()) {}
BlockSparseAttention::~BlockSparseAttention() = default;
BlockSparseAttention::BlockSparseAttention(BlockSparseAttention&&) noexcept = default;
BlockSparseAttention& BlockSparseAttention::operator=(BlockSparseAttention&&) noexcept = default;

void BlockSparseAttention::plan(const BlockSparsePattern& pattern, const AttentionPlanArgs& common,
                                const Launch& launch) {
  State& state = *state_;
  state.begin(common, false);
  check_pattern(pattern);
  state.rows = pattern.rows;
  state.columns = pattern.columns;
  state.page_size = pattern.block_columns;
  const auto *indptr = pattern.indptr.as<std::int32_t>(), *indices = pattern.indices.as<std::int32_t>();
  for (std::int64_t i = 0; i + 1 < pattern.indptr.shape[0]; ++i) {
    if (indptr[0] != 0 || indptr[i + 1] < indptr[i])
      fail(ErrorKind::kInvalidArgument, "{}: indptr: expected numbers that grow from 0, got {} after {}",
           kName, indptr[i + 1], indptr[i]);
    state.kv_indices.insert(state.kv_indices.end(), indices + indptr[i], indices + indptr[i + 1]);
    state.end_request(std::min(pattern.block_rows, pattern.rows - static_cast<int>(i) * pattern.block_rows));
  }
  state.plan(common, launch);
}

// The requests of a query head that reads `kv_head`.
void BlockSparseAttention::State::add_blocks_of(const VariableBlockPattern& pattern, std::int64_t kv_head) {
  const Borders of_rows(pattern.row_sizes, kv_head, "row_sizes");
  const Borders of_columns(pattern.column_sizes, kv_head, "column_sizes");
  check_total("row_sizes", kv_head, of_rows.begin.back(), rows);
  check_total("column_sizes", kv_head, of_columns.begin.back(), columns);
  const std::int64_t row_blocks = pattern.block_mask.shape[1], column_blocks = pattern.block_mask.shape[2];
  const auto first_page = static_cast<std::int32_t>(kv_head * columns / page_size);
  for (std::int64_t i = 0; i < row_blocks; ++i) {
    const auto row = static_cast<std::size_t>(i);
    for (std::int64_t j = 0; j < column_blocks; ++j) {
      if (!pattern.block_mask.at<bool>(kv_head, i, j)) continue;
      const auto column = static_cast<std::size_t>(j);
      for (std::int32_t token = of_columns.begin[column]; token < of_columns.begin[column + 1];
           token += page_size)
        kv_indices.push_back(first_page + token / page_size);
    }
    end_request(of_rows.begin[row + 1] - of_rows.begin[row]);
  }
}

void BlockSparseAttention::plan(const VariableBlockPattern& pattern, const AttentionPlanArgs& common,
                                const Launch& launch) {
  State& state = *state_;
  state.begin(common, true);
  check_variable(pattern, common);
  state.rows = Borders(pattern.row_sizes, 0, "row_sizes").begin.back();
  state.columns = Borders(pattern.column_sizes, 0, "column_sizes").begin.back();
  // The largest pages that every block consists of.
  const auto* sizes = pattern.column_sizes.as<std::int32_t>();
  state.page_size = std::max(1, std::accumulate(sizes, sizes + pattern.column_sizes.size(), 0,
                                                [](int a, int b) { return std::gcd(a, b); }));
  const int group = common.num_qo_heads / common.num_kv_heads;
  for (int head = 0; head < common.num_qo_heads; ++head) state.add_blocks_of(pattern, head / group);
  AttentionPlanArgs args = common;
  args.num_qo_heads = args.num_kv_heads = 1;
  args.kv_layout = KvLayout::kNhd;
  state.plan(args, launch);
}

void BlockSparseAttention::run(const AttentionRunArgs& args, const Launch& launch) {
  State& state = *state_;
  if (!state.planned)
    fail(ErrorKind::kInvalidArgument, "{}: run: expected a successful plan before it, got none", kName);
  AttentionRunArgs run = args;
  const int row_axis = state.variable ? 1 : 0;
  const int column_axis = state.variable || state.kv_layout == KvLayout::kHnd ? 1 : 0;
  check_tensor(args.q, "q", 3, state.rows, row_axis);
  check_tensor(args.out, "out", 3, state.rows, row_axis);
  check_tensor(args.k, "k", 3, state.columns, column_axis);
  check_tensor(args.v, "v", 3, state.columns, column_axis);
  if (!state.variable) {
    run.k = split(args.k, column_axis, state.page_size);
    run.v = split(args.v, column_axis, state.page_size);
    if (column_axis == 1) {  // [heads, blocks, tokens, dim]
      run.k = run.k.permute({1, 0, 2, 3});
      run.v = run.v.permute({1, 0, 2, 3});
    }
    return state.attention.run(run, launch);
  }
  if (args.sinks.given())
    fail(ErrorKind::kUnsupported, "{}: sinks: expected none with variable blocks", kName);
  run.q = split(joined(args.q, "q", 0), 1, args.q.shape[2]);
  run.out = split(joined(args.out, "out", 0), 1, args.out.shape[2]);
  for (TensorView* cache : {&run.k, &run.v}) {
    const TensorView tokens = joined(*cache, cache == &run.k ? "k" : "v", 0);
    *cache = split(split(tokens, 1, tokens.shape[1]), 0, state.page_size);
  }
  if (args.lse.given()) {
    check_tensor(args.lse, "lse", 2, state.rows, 1);
    run.lse = split(joined(args.lse, "lse", 0), 0, 1);
  }
  state.attention.run(run, launch);
}

}  // namespace strobe::inline v1
