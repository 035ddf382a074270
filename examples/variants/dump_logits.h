// Attention as it is, and its logits in a tensor: [batch, max_qo_len, num_qo_heads, max_kv_len].
struct DumpLogits {
  static float logits(const Params& params, const LogitIndex& at, float logits) {
    const long long row =
        (at.batch_idx * params.max_qo_len + at.qo_idx) * params.num_qo_heads + at.qo_head_idx;
    params.dump[row * params.max_kv_len + at.kv_idx] = logits;
    return logits;
  }
};
