#include "jit/cache_entry.h"

#include <charconv>
#include <nlohmann/json.hpp>

#include "core/message.h"
#include "cuda/driver.h"
#include "jit/sha256.h"

namespace strobe::jit {
namespace {

using Json = nlohmann::json;

constexpr int kFormat = 1;
constexpr const char* kDigestField = "record_sha256";
constexpr std::string_view kHostPrefix = "cxx";

bool all_of(std::string_view text, std::string_view allowed) {
  return !text.empty() && text.find_first_not_of(allowed) == std::string_view::npos;
}

// 13000 for "13.0"; 0 when it is not a version.
int parse_version(std::string_view text) {
  int major = 0, minor = 0;
  const char* end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, major);
  if (first.ec != std::errc{} || first.ptr == end || *first.ptr != '.') return 0;
  const auto second = std::from_chars(first.ptr + 1, end, minor);
  const int version = major * 1000 + minor * 10;
  const bool whole = second.ec == std::errc{} && second.ptr == end;
  return whole && major > 0 && major < 1000 && minor < 100 && cuda::version_text(version) == text ? version
                                                                                                  : 0;
}

Json fields_of(const EntryRecord& record) {
  const KernelFacts& facts = record.facts;
  return {{"format", kFormat},
          {"entry", record.name.stem()},
          {"kernel", record.description},
          {"architecture", record.architecture},
          {"options", record.options},
          {"seconds", record.seconds},
          {"registers", facts.registers},
          {"static_shared_bytes", facts.shared_bytes},
          {"stack_bytes", facts.stack_bytes},
          {"spill_store_bytes", facts.spill_stores},
          {"spill_load_bytes", facts.spill_loads},
          {"barriers", facts.barriers},
          {"warnings", facts.warnings},
          {"log", record.log},
          {"cubin_bytes", record.code_bytes},
          {"cubin_sha256", record.code_sha256},
          {"source_sha256", record.source_sha256}};
}

// nlohmann throws at fields of the wrong type, and at bytes in a log that are no UTF-8 when it writes.
std::string text_of(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

EntryRecord record_of(const Json& json, const EntryName& name) {
  EntryRecord record;
  record.name = name;
  json.at("kernel").get_to(record.description);
  json.at("architecture").get_to(record.architecture);
  json.at("options").get_to(record.options);
  json.at("seconds").get_to(record.seconds);
  json.at("registers").get_to(record.facts.registers);
  json.at("static_shared_bytes").get_to(record.facts.shared_bytes);
  json.at("stack_bytes").get_to(record.facts.stack_bytes);
  json.at("spill_store_bytes").get_to(record.facts.spill_stores);
  json.at("spill_load_bytes").get_to(record.facts.spill_loads);
  json.at("barriers").get_to(record.facts.barriers);
  json.at("warnings").get_to(record.facts.warnings);
  json.at("log").get_to(record.log);
  json.at("cubin_bytes").get_to(record.code_bytes);
  json.at("cubin_sha256").get_to(record.code_sha256);
  json.at("source_sha256").get_to(record.source_sha256);
  return record;
}

}  // namespace

std::string EntryName::stem() const {
  return fmt::format("{}-{}-{}{}", kernel, source_key, host ? kHostPrefix : "",
                     cuda::version_text(compiler_version));
}

std::optional<EntryName> parse_stem(std::string_view stem) {
  const std::size_t second = stem.rfind('-');
  if (second == std::string_view::npos) return {};
  const std::size_t first = stem.substr(0, second).rfind('-');
  if (first == std::string_view::npos) return {};
  const std::string_view kernel = stem.substr(0, first);
  const std::string_view key = stem.substr(first + 1, second - first - 1);
  std::string_view compiler = stem.substr(second + 1);
  const bool host = compiler.starts_with(kHostPrefix);
  if (host) compiler.remove_prefix(kHostPrefix.size());
  const int version = parse_version(compiler);
  if (!all_of(kernel, "abcdefghijklmnopqrstuvwxyz0123456789_") || key.size() != kSourceKeyDigits ||
      !all_of(key, "0123456789abcdef") || version == 0)
    return {};
  return EntryName{std::string(kernel), std::string(key), version, host};
}

std::string to_json(const EntryRecord& record) {
  Json json = fields_of(record);
  json[kDigestField] = sha256_hex(text_of(json, -1));
  return text_of(json, 1) + '\n';
}

std::optional<EntryRecord> parse_record(const std::string& text, const EntryName& name, std::string& why) {
  const auto damaged = [&](std::string_view reason) -> std::optional<EntryRecord> {
    why = fmt::format("{}.json {}", name.stem(), reason);
    return {};
  };
  Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return damaged("is damaged: no JSON object");
  const auto digest = json.find(kDigestField);
  if (digest == json.end() || !digest->is_string()) return damaged("is damaged: it has no digest");
  const std::string expected = *digest;
  json.erase(kDigestField);
  if (sha256_hex(text_of(json, -1)) != expected) return damaged("is damaged: its digest does not match");
  if (json.value("format", 0) != kFormat) return damaged("is of another format");
  if (json.value("entry", "") != name.stem()) return damaged("belongs to another entry");
  try {
    return record_of(json, name);
  } catch (const Json::exception& error) {
    return damaged(fmt::format("is damaged: {}", error.what()));
  }
}

}  // namespace strobe::jit
