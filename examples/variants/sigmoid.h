// Sigmoid attention (Ramapuram et al., 2024): every pair has a weight of its own, and rows are not
// normalised.
struct Sigmoid {
  static constexpr bool use_softmax = false;

  static float logits(const Params& params, const LogitIndex&, float logits) {
    return 1.0f / (1.0f + expf(-(logits + params.bias)));
  }
};
