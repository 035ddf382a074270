// The flags of FlashInfer's benchmark (benchmarks/flashinfer_benchmark.py, 0.6.18) for the routines that
// Strobe has.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "op/routine.h"

namespace strobe::bench::flashinfer {

enum class Use : std::uint8_t {
  kOptional,
  kRequired,
  kNoEffect,  // accepted and named in a note: `reason` says why it changes nothing here
};

struct FlagInfo {
  op::Parameter parameter;
  Use use = Use::kOptional;
  std::string_view reason = {};
};

std::span<const FlagInfo> attention_flags();
std::span<const FlagInfo> norm_flags();
std::span<const FlagInfo> rope_flags();

}  // namespace strobe::bench::flashinfer
