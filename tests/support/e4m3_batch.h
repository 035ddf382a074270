// A paged attention batch in e4m3, with results in another format and scales by head that differ.
#pragma once

#include <vector>

#include "core/read.h"
#include "support/attention_batch.h"

namespace strobe::test {

struct E4m3Batch {
  E4m3Batch(const std::vector<RequestShape>& requests, BatchShape shape, Dtype out_dtype = Dtype::kBf16)
      : batch(requests, (shape.dtype = shape.kv_dtype = Dtype::kE4m3, shape)),
        out(out_dtype, {batch.qo_indptr.back(), shape.num_qo_heads, shape.head_dim}) {
    for (int head = 0; head < shape.num_qo_heads; ++head)
      q_scales.push_back(1.5f - 0.75f * static_cast<float>(head % 2));
    for (int head = 0; head < shape.num_kv_heads; ++head) {
      k_scales.push_back(0.5f + static_cast<float>(head));
      v_scales.push_back(3.0f - static_cast<float>(head));
    }
    batch.run.out = out;
    batch.run.q_scales = TensorView::of(q_scales);
    batch.run.k_scales = TensorView::of(k_scales);
    batch.run.v_scales = TensorView::of(v_scales);
  }
  ops::BatchAttentionArgs args() const { return {batch.plan, batch.run}; }

  // The norm of what `run(*this)` leaves in out, less the FP64 reference, beside that of the reference: it
  // averages over elements, where a tolerance has to leave each of them room.
  template <class F>
  double relative_error(F run) {
    ops::BatchAttentionArgs all = args();
    const op::Operator& op = ops::batch_attention_operator(true);
    op::Axes axes;
    op::validate(op, &all, op::Phase::kPlan, axes);
    op::validate(op, &all, op::Phase::kRun, axes);
    op::Random random(7);
    const op::Expected expected = op::expect(op, &all, axes, 1 << 20, random);
    op::fill_poison(out);
    run(*this);
    const TensorView results = out;
    double error = 0, norm = 0;
    for (std::size_t i = 0; i < expected[0].values.size(); ++i) {
      const double want = expected[0].values[i],
                   got = read_element(results.data, results.dtype, static_cast<std::int64_t>(i));
      error += (got - want) * (got - want);
      norm += want * want;
    }
    return std::sqrt(error / norm);
  }

  AttentionBatch batch;
  Tensor out;
  std::vector<float> q_scales, k_scales, v_scales;
};

}  // namespace strobe::test
