// A paged attention batch with memory of its own, to be changed by a test before it runs.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "op/check.h"
#include "op/random.h"
#include "op/validate.h"
#include "ops/attention_args.h"
#include "strobe/attention.h"
#include "support/sweep.h"

namespace strobe::test {

struct RequestShape {
  int qo_len = 1;
  int kv_len = 0;
};

struct BatchShape {
  int num_qo_heads = 4, num_kv_heads = 2, head_dim = 64, page_size = 16;
  Dtype dtype = Dtype::kBf16, kv_dtype = Dtype::kBf16;
  std::uint64_t seed = 1;
};

// NHD pages in reverse order, causal mask, with lse.
class AttentionBatch {
 public:
  explicit AttentionBatch(const std::vector<RequestShape>& requests, const BatchShape& shape = {})
      : shape_(shape) {
    for (const RequestShape& request : requests) {
      qo_indptr.push_back(qo_indptr.back() + request.qo_len);
      const int pages = (request.kv_len + shape.page_size - 1) / shape.page_size;
      kv_indptr.push_back(kv_indptr.back() + pages);
      last_page_len.push_back(pages == 0 ? 0 : (request.kv_len - 1) % shape.page_size + 1);
    }
    const int pages = kv_indptr.back();
    kv_indices.resize(static_cast<std::size_t>(pages));
    std::iota(kv_indices.rbegin(), kv_indices.rend(), 0);
    plan.num_qo_heads = shape.num_qo_heads;
    plan.num_kv_heads = shape.num_kv_heads;
    plan.head_dim_qk = shape.head_dim;
    plan.page_size = shape.page_size;
    plan.q_dtype = shape.dtype;
    plan.kv_dtype = shape.kv_dtype;
    plan.options.mask = MaskMode::kCausal;
    refresh();
    const std::int64_t tokens = qo_indptr.back();
    q_ = Tensor(shape.dtype, {tokens, shape.num_qo_heads, shape.head_dim});
    k_ = Tensor(shape.kv_dtype, {pages, shape.page_size, shape.num_kv_heads, shape.head_dim});
    v_ = Tensor(shape.kv_dtype, {pages, shape.page_size, shape.num_kv_heads, shape.head_dim});
    out_ = Tensor(shape.dtype, {tokens, shape.num_qo_heads, shape.head_dim});
    lse_ = Tensor(Dtype::kF32, {tokens, shape.num_qo_heads});
    op::Random random(shape.seed);
    for (const Tensor* tensor : {&q_, &k_, &v_}) op::fill_normal(*tensor, random);
    run = {.q = q_, .k = k_, .v = v_, .sinks = {}, .out = out_, .lse = lse_};
  }
  AttentionBatch(const AttentionBatch&) = delete;
  AttentionBatch& operator=(const AttentionBatch&) = delete;

  // Points plan's views at the index vectors again, after their sizes have changed.
  void refresh() {
    plan.qo_indptr = TensorView::of(qo_indptr);
    plan.kv_indptr = TensorView::of(kv_indptr);
    plan.kv_indices = TensorView::of(kv_indices);
    plan.last_page_len = TensorView::of(last_page_len);
  }

  void set_random_custom_mask() {
    op::Random random(17);
    custom_mask_indptr_ = {0};
    std::vector<std::int32_t> lengths;
    ops::kv_lengths(plan, lengths);
    for (std::size_t r = 0; r < lengths.size(); ++r)
      custom_mask_indptr_.push_back(custom_mask_indptr_.back() +
                                    ((qo_indptr[r + 1] - qo_indptr[r]) * lengths[r] + 7) / 8);
    custom_mask_.resize(static_cast<std::size_t>(custom_mask_indptr_.back()));
    for (std::uint8_t& byte : custom_mask_) byte = static_cast<std::uint8_t>(random.next());
    plan.custom_mask = TensorView::of(custom_mask_);
    plan.custom_mask_indptr = TensorView::of(custom_mask_indptr_);
    plan.options.mask = MaskMode::kCustom;
  }

  // NaN in every head of one KV token.
  void poison_kv_token(int request, int token) {
    const std::int32_t page = kv_indices[static_cast<std::size_t>(
        kv_indptr[static_cast<std::size_t>(request)] + token / shape_.page_size)];
    for (const TensorView& cache : {run.k, run.v})
      op::fill_poison(cache.select(0, page).select(0, token % shape_.page_size));
  }

  // Takes over the queries and the cache content of another batch's request 0, which has the same shape.
  void copy_request(int request, const AttentionBatch& from) {
    const auto r = static_cast<std::size_t>(request);
    const auto rows = static_cast<std::size_t>(from.qo_indptr[1]);
    const TensorView to = run.q.slice(0, qo_indptr[r], qo_indptr[r + 1]);
    std::memcpy(to.data, from.run.q.data, rows * static_cast<std::size_t>(to.bytes()) / rows);
    for (std::int32_t page = 0; page < from.kv_indptr[1]; ++page) {
      const std::int32_t mine = kv_indices[static_cast<std::size_t>(kv_indptr[r] + page)],
                         theirs = from.kv_indices[static_cast<std::size_t>(page)];
      for (auto member : {&AttentionRunArgs::k, &AttentionRunArgs::v}) {
        const TensorView target = (run.*member).select(0, mine);
        std::memcpy(target.data, (from.run.*member).select(0, theirs).data,
                    static_cast<std::size_t>(target.bytes()));
      }
    }
  }

  // Whether what `run_batch(*this)` writes, on the device, passes the reference check of the batch as it is
  // now.
  template <class F>
  bool passes_when(F run_batch, DeviceType device = DeviceType::kCpu) {
    const op::Operator& op = ops::batch_attention_operator(true);
    ops::BatchAttentionArgs args{plan, run};
    op::Axes axes;
    op::validate(op, &args, op::Phase::kPlan, axes);
    op::validate(op, &args, op::Phase::kRun, axes);
    op::Random random(1);
    const op::Expected expected = op::expect(op, &args, axes, 1 << 20, random);
    op::fill_poison(run.out);
    op::fill_poison(run.lse);
    run_batch(*this);
    result_ = op::compare(op, &args, axes, expected, device);
    return result_.passed && (result_.elements > 0 || run.out.size() == 0);
  }

  // The same for BatchAttention on the batch as `change` makes it; the change is undone.
  template <class F>
  bool matches_when(F change) {
    return passes_when([&](AttentionBatch& batch) {
      const AttentionPlanArgs right_plan = batch.plan;
      const AttentionRunArgs right_run = batch.run;
      const std::vector<std::int32_t> right_indices = batch.kv_indices;
      change(batch);
      BatchAttention attention;
      attention.plan(batch.plan);
      attention.run(batch.run);
      batch.plan = right_plan;
      batch.run = right_run;
      batch.kv_indices = right_indices;
      batch.plan.kv_indices = TensorView::of(batch.kv_indices);
    });
  }

  const std::string& worst() const { return result_.worst; }

  void expect_matches() {
    for (cpu::Isa isa : isa_levels()) {
      const ScopedIsa scoped(isa);
      EXPECT_TRUE(matches_when([](AttentionBatch&) {})) << "at " << cpu::name(isa) << ": " << result_.worst;
    }
  }

  AttentionPlanArgs plan;
  AttentionRunArgs run;
  std::vector<std::int32_t> qo_indptr = {0}, kv_indptr = {0}, kv_indices, last_page_len;

 private:
  BatchShape shape_;
  Tensor q_, k_, v_, out_, lse_;
  std::vector<std::uint8_t> custom_mask_;
  std::vector<std::int32_t> custom_mask_indptr_;
  op::CheckResult result_;
};

}  // namespace strobe::test
