// A sliding window that keeps the first tokens in sight (Xiao et al., Efficient Streaming Language Models
// with Attention Sinks, 2023).
struct SinkWindow {
  static bool mask(const Params& params, const LogitIndex& at) {
    return at.kv_idx < params.num_sinks || at.position() - at.kv_idx < params.window;
  }
};
