// HTML text. Whatever comes from a result file passes `escaped`.
#pragma once

#include <string>
#include <string_view>

namespace strobe::bench::report {

// Fit for text and for quoted attributes; control characters become U+FFFD.
std::string escaped(std::string_view text);

// <tag attributes>content</tag>; `attributes` and `content` are HTML.
std::string element(std::string_view tag, std::string_view attributes, std::string_view content);

// A page that needs no other file: style and script stand in it. `body` is HTML, `title` text.
std::string page(std::string_view title, std::string_view body);

}  // namespace strobe::bench::report
