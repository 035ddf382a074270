// Logits that stay within (-cap, cap) (Gemma 2, 2024).
struct SoftCap {
  static float logits(const Params& params, const LogitIndex&, float logits) {
    return params.cap * tanhf(logits / params.cap);
  }
};
