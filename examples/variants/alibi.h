// Attention with linear biases (Press et al., 2021): a slope for each query head.
struct Alibi {
  static float logits(const Params& params, const LogitIndex& at, float logits) {
    return logits + params.slopes[at.qo_head_idx] * (at.kv_idx - at.position());
  }
};
