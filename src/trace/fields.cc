#include "trace/fields.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <limits>

#include "core/message.h"
#include "trace/json_text.h"

namespace strobe::trace {
namespace {

std::string_view trimmed(std::string_view text) {
  const auto blank = [](char letter) { return std::isspace(static_cast<unsigned char>(letter)) != 0; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  return result;
}

// from_chars takes no leading '+', which Python does.
std::string_view without_plus(std::string_view text) {
  return text.size() > 1 && text[0] == '+' && text[1] != '-' ? text.substr(1) : text;
}

std::optional<std::int64_t> integer_of(std::string_view text) {
  text = without_plus(trimmed(text));
  if (const std::size_t point = text.find('.'); point != std::string_view::npos && point > 0) {
    const std::string_view fraction = text.substr(point + 1);
    if (fraction.find_first_not_of('0') != std::string_view::npos) return {};
    text = text.substr(0, point);
  }
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return {};
  return value;
}

std::optional<double> number_of(std::string_view text) {
  text = without_plus(trimmed(text));
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (!text.empty() && error == std::errc{} && end == text.data() + text.size()) return value;
  const std::string word = lower(text);
  const bool negative = word.starts_with('-');
  const std::string_view size = std::string_view(word).substr(negative ? 1 : 0);
  if (size == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (size == "inf" || size == "infinity")
    return negative ? -std::numeric_limits<double>::infinity() : std::numeric_limits<double>::infinity();
  return {};
}

std::optional<std::int64_t> integer_of(double value) {
  constexpr double kEnd = 9223372036854775808.0;
  if (!(value >= -kEnd && value < kEnd) || value != std::floor(value)) return {};
  return static_cast<std::int64_t>(value);
}

}  // namespace

Field Field::at(std::string_view key) const {
  const std::optional<Field> field = find(key);
  if (!field) fail(ErrorKind::kIo, "{}: expected a field '{}'", where_, key);
  return *field;
}

std::optional<Field> Field::find(std::string_view key) const {
  require(value_->is_object(), "an object");
  const auto found = value_->find(key);
  if (found == value_->end()) return {};
  return Field(*found,
               fmt::format("{}{}{}", where_, where_.find(": ") == std::string::npos ? ": " : ".", key));
}

std::vector<std::pair<std::string, Field>> Field::members() const {
  require(value_->is_object(), "an object");
  std::vector<std::pair<std::string, Field>> result;
  for (const auto& [key, value] : value_->items()) result.emplace_back(key, at(key));
  return result;
}

std::vector<Field> Field::elements() const {
  require(value_->is_array(), "a list");
  std::vector<Field> result;
  for (std::size_t i = 0; i < value_->size(); ++i)
    result.emplace_back((*value_)[i], fmt::format("{}[{}]", where_, i));
  return result;
}

std::string Field::text() const {
  require(value_->is_string(), "a text");
  return value_->get<std::string>();
}

std::string Field::name() const {
  std::string result = text();
  require(!result.empty(), "a text that is not empty");
  return result;
}

std::vector<std::string> Field::names() const {
  std::vector<std::string> result;
  for (const Field& element : elements()) result.push_back(element.name());
  return result;
}

std::int64_t Field::integer() const {
  std::optional<std::int64_t> value;
  if (value_->is_boolean()) value = value_->get<bool>() ? 1 : 0;
  if (value_->is_number_unsigned()) {
    const auto size = value_->get<std::uint64_t>();
    if (size <= std::numeric_limits<std::int64_t>::max()) value = static_cast<std::int64_t>(size);
  } else if (value_->is_number_integer()) {
    value = value_->get<std::int64_t>();
  } else if (value_->is_number_float()) {
    value = integer_of(value_->get<double>());
  } else if (value_->is_string()) {
    value = integer_of(value_->get_ref<const std::string&>());
  }
  if (!value) expected("an integer of 64 bits");
  return *value;
}

std::int64_t Field::count() const {
  const std::int64_t value = integer();
  require(value >= 0, "an integer, at least 0");
  return value;
}

bool Field::boolean() const {
  if (value_->is_boolean()) return value_->get<bool>();
  if (value_->is_number()) {
    const double value = value_->get<double>();
    require(value == 0 || value == 1, "true or false");
    return value == 1;
  }
  require(value_->is_string(), "true or false");
  const std::string word = lower(trimmed(value_->get_ref<const std::string&>()));
  for (const std::string_view yes : {"true", "yes", "on", "t", "y", "1"})
    if (word == yes) return true;
  for (const std::string_view no : {"false", "no", "off", "f", "n", "0"})
    if (word == no) return false;
  expected("true or false");
}

double Field::number() const {
  if (value_->is_boolean()) return value_->get<bool>() ? 1 : 0;
  if (value_->is_number()) return value_->get<double>();
  std::optional<double> value;
  if (value_->is_string()) value = number_of(value_->get_ref<const std::string&>());
  if (!value) expected("a number");
  return *value;
}

double Field::error_bound() const {
  const double value = number();
  require(!(value < 0), "a number, at least 0, or NaN");
  return value;
}

ScalarValue Field::scalar() const {
  if (value_->is_boolean()) return value_->get<bool>();
  if (value_->is_number_integer()) return integer();
  if (value_->is_number_float()) return value_->get<double>();
  if (value_->is_string()) {
    const std::string& text = value_->get_ref<const std::string&>();
    if (const std::optional<std::int64_t> value = integer_of(text)) return *value;
    if (const std::optional<double> value = number_of(text)) return *value;
  }
  expected("a number, true or false");
}

std::string Field::choice(std::initializer_list<std::string_view> choices) const {
  std::string value = text();
  if (std::find(choices.begin(), choices.end(), value) == choices.end())
    expected(fmt::format("one of {}", fmt::join(choices, ", ")));
  return value;
}

void Field::expected(std::string_view what) const {
  std::string found = one_line(*value_);
  if (found.size() > 60) found = found.substr(0, 57) + "...";
  fail(ErrorKind::kIo, "{}: expected {}, got {}", where_, what, found);
}

std::optional<std::string> optional_text(const Field& parent, std::string_view key) {
  const std::optional<Field> field = parent.find(key);
  if (!field || field->is_null()) return {};
  return field->text();
}

}  // namespace strobe::trace
