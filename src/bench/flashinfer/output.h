// Results in the forms of FlashInfer's benchmark.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/run_case.h"

namespace strobe::bench::flashinfer {

// "[PERF] cpu/avx512     :: median time 0.285 ms; std 0.000 ms; achieved tflops …".
std::string perf_line(const Row& row);

// FlashInfer's columns in FlashInfer's order, which names some of them twice, then Strobe's own. Columns that
// mean nothing for a row are empty.
std::vector<std::string_view> csv_columns();

// Header and a line for each row; fields quoted as in RFC 4180.
std::string csv_text(std::span<const Row> rows);

}  // namespace strobe::bench::flashinfer
