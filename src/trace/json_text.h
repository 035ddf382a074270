// JSON as the files of FlashInfer-Trace have it: the keys of an object keep their order, of two equal keys
// the last one counts, and the tokens NaN, Infinity and -Infinity stand for numbers.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace strobe::trace {

using Json = nlohmann::ordered_json;

// The tokens become the texts "NaN", "Infinity" and "-Infinity", which is how numbers that are not finite are
// written. `line` is that of the text's beginning. Throws Error(kIo): "file:line:column: what is wrong".
Json parse_json(std::string_view text, std::string_view file, int line = 1);

// On one line, and indented by two blanks with a line break at the end. Characters beyond ASCII as they are;
// bytes that are no UTF-8 as U+FFFD.
std::string one_line(const Json& value);
std::string indented(const Json& value);

}  // namespace strobe::trace
