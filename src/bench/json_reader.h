// Fields of a JSON document with errors that name file, field, expectation and finding.
#pragma once

#include <cmath>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "bench/json_report.h"
#include "core/message.h"

namespace strobe::bench {

class JsonReader {
 public:
  // `node` must stay; `where` is "a.json" or "a.json: rows[3]".
  JsonReader(const Json& node, std::string where) : node_(node), where_(std::move(where)) {}

  JsonReader at(const std::string& field) const {
    require(node_.is_object(), "an object");
    const auto found = node_.find(field);
    if (found == node_.end()) fail(ErrorKind::kIo, "{}: expected a field '{}'", where_, field);
    return {*found, where_ + (where_.find(": ") == std::string::npos ? ": " : ".") + field};
  }
  std::optional<JsonReader> find(const std::string& field) const {
    if (!node_.is_object() || !node_.contains(field)) return {};
    return at(field);
  }
  template <class T>
  std::vector<T> list(T (*read)(const JsonReader&)) const {
    require(node_.is_array(), "a list");
    std::vector<T> result;
    for (std::size_t i = 0; i < node_.size(); ++i)
      result.push_back(read({node_[i], fmt::format("{}[{}]", where_, i)}));
    return result;
  }

  std::string text() const {
    require(node_.is_string(), "a text");
    return node_.get<std::string>();
  }
  // Finite and at least 0.
  double number() const {
    require(node_.is_number() && std::isfinite(node_.get<double>()) && node_.get<double>() >= 0,
            "a number, at least 0");
    return node_.get<double>();
  }
  double positive() const {
    require(node_.is_number() && std::isfinite(node_.get<double>()) && node_.get<double>() > 0,
            "a number above 0");
    return node_.get<double>();
  }
  int integer() const {
    require(node_.is_number_integer() && node_.get<double>() >= 0 && node_.get<double>() <= 2147483647.0,
            "an integer, at least 0");
    return node_.get<int>();
  }
  std::optional<double> number_or_null() const {
    return node_.is_null() ? std::nullopt : std::optional(number());
  }
  std::optional<double> positive_or_null() const {
    return node_.is_null() ? std::nullopt : std::optional(positive());
  }
  // Every member of an object as text.
  std::vector<std::pair<std::string, std::string>> members() const {
    require(node_.is_object(), "an object");
    std::vector<std::pair<std::string, std::string>> result;
    for (const auto& [name, value] : node_.items())
      result.emplace_back(name, value.is_string() ? value.get<std::string>() : value.dump());
    return result;
  }
  [[noreturn]] void expected(std::string_view what) const {
    std::string found = node_.dump();
    if (found.size() > 60) found = found.substr(0, 57) + "...";
    fail(ErrorKind::kIo, "{}: expected {}, got {}", where_, what, found);
  }

 private:
  void require(bool condition, std::string_view what) const {
    if (!condition) expected(what);
  }

  const Json& node_;
  std::string where_;
};

}  // namespace strobe::bench
