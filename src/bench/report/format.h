// Numbers as a reader wants them: three digits that count, a unit of fitting size.
#pragma once

#include <string>

namespace strobe::bench::report {

std::string significant(double value, int digits = 3);  // "0.0123", "12.3", "1230"
std::string grouped(double value);                      // "26 301", with narrow no-break spaces
std::string milliseconds(double ms);                    // "1.63 µs", "12.1 ms", "1.20 s"
std::string gigabytes_per_second(double gbs);           // "42.9 GB/s", "3.35 TB/s"
std::string gigaflops(double gflops);                   // "708 GFLOP/s", "1.07 TFLOP/s"
std::string percent(double fraction);                   // "73 %"
std::string signed_percent(double fraction);            // "+4.1 %", "−0.3 %"

}  // namespace strobe::bench::report
