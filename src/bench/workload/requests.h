// Requests to a text-generation service, as request traces record them.
#pragma once

#include <string>
#include <vector>

namespace strobe::bench {

struct Request {
  double arrival_s = 0;      // seconds after the first request
  int context_tokens = 0;    // tokens of the prompt, at least 1
  int generated_tokens = 0;  // tokens of the answer
};

// The most context or generated tokens that a request may have.
inline constexpr int kMaxRequestTokens = 1'000'000;

// Reads a request trace in the format of the Azure LLM inference traces: CSV with a header that names, in any
// order, the columns TIMESTAMP, ContextTokens and GeneratedTokens; further columns are ignored.
//
// A timestamp is `YYYY-MM-DD HH:MM:SS[.fraction]` (or with `T` between date and time; optionally followed by
// `Z` or an offset `+HH:MM`), or plain seconds; one form per file. Times must not go backwards. Context
// tokens are in [1, kMaxRequestTokens], generated tokens in [0, kMaxRequestTokens].
//
// Throws Error(kIo) naming the file and, for a malformed one, line and column (1-based), expectation and
// finding.
std::vector<Request> read_requests(const std::string& path);

}  // namespace strobe::bench
