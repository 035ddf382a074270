// Values of a JSON document by the rules under which FlashInfer-Bench reads them (pydantic's lax mode), with
// errors that name the place, the expectation and the finding.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "trace/model.h"

namespace strobe::trace {

class Field {
 public:
  // `value` must stay.
  Field(const Json& value, std::string where) : value_(&value), where_(std::move(where)) {}

  // A member; error when this is no object or has none of that name.
  Field at(std::string_view key) const;
  std::optional<Field> find(std::string_view key) const;  // none when there is none; null is there
  std::vector<std::pair<std::string, Field>> members() const;
  std::vector<Field> elements() const;

  bool is_null() const { return value_->is_null(); }
  const Json& json() const { return *value_; }
  const std::string& where() const { return where_; }

  std::string text() const;  // of any length
  std::string name() const;  // not empty
  std::vector<std::string> names() const;
  std::int64_t integer() const;  // 4, "4", " 4", "4.0", 4.0, true
  std::int64_t count() const;    // an integer, at least 0
  bool boolean() const;          // true, 1, 1.0, "true", "yes", "on", "t", "y", "1", …
  double number() const;         // with "NaN", "inf" and their like
  double error_bound() const;    // a number, at least 0, or NaN
  ScalarValue scalar() const;    // true stays a bool, "3" becomes an integer
  std::string choice(std::initializer_list<std::string_view> choices) const;

  [[noreturn]] void expected(std::string_view what) const;
  void require(bool condition, std::string_view what) const {
    if (!condition) expected(what);
  }

 private:
  const Json* value_;
  std::string where_;
};

// The member's value by `read`, or `otherwise` when there is no such member. A member that is null is none
// only where the schema says so (optional_name).
template <class T>
T value_or(const Field& parent, std::string_view key, T (Field::*read)() const, T otherwise) {
  const std::optional<Field> field = parent.find(key);
  return field ? ((*field).*read)() : std::move(otherwise);
}
std::optional<std::string> optional_text(const Field& parent, std::string_view key);

}  // namespace strobe::trace
