// Several documents in one request: a token sees those of its own. `documents` has the number of each KV
// token's, those of request r from offsets[r].
struct DocumentMask {
  static bool mask(const Params& params, const LogitIndex& at) {
    const int* documents = params.documents + params.offsets[at.batch_idx];
    return documents[at.position()] == documents[at.kv_idx];
  }
};
