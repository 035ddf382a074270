#include "core/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>

#include "core/message.h"
#include "core/strided_copy.h"

namespace strobe::inline v1 {
namespace {

static_assert(std::endian::native == std::endian::little, "elements are stored as they are");

using Json = nlohmann::ordered_json;

// By Dtype.
constexpr std::array<std::string_view, kDtypeCount> kNames = {"F32", "F16", "BF16", "F8_E4M3", "F8_E5M2",
                                                              "I8",  "U8",  "I32",  "I64",     "BOOL"};
constexpr std::uint64_t kMostHeaderBytes = 100'000'000;  // as the format's own reader has it

struct Close {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, Close>;

[[noreturn]] void fail_at(const std::string& path, const char* what) {
  fail(ErrorKind::kIo, "{}: cannot be {}: {}", path, what, std::strerror(errno));
}

Json header_of(std::span<const NamedView> tensors) {
  Json header = Json::object();
  std::int64_t end = 0;
  for (const auto& [name, view] : tensors) {
    const std::int64_t begin = end;
    end += view.bytes();
    header[name] = {{"dtype", kNames[static_cast<std::size_t>(view.dtype)]},
                    {"shape", std::vector<std::int64_t>(view.shape.begin(), view.shape.begin() + view.rank)},
                    {"data_offsets", {begin, end}}};
  }
  return header;
}

void write_elements(std::FILE* file, const TensorView& view) {
  const auto bytes = static_cast<std::size_t>(view.bytes());
  if (view.is_dense()) {
    std::fwrite(view.data, 1, bytes, file);
    return;
  }
  const Tensor dense(view.dtype, std::span(view.shape.data(), static_cast<std::size_t>(view.rank)));
  strided_copy(view, dense);
  std::fwrite(dense.as<void>(), 1, bytes, file);
}

Dtype dtype_of_name(const std::string& path, const std::string& tensor, const std::string& dtype) {
  for (std::size_t i = 0; i < kNames.size(); ++i)
    if (kNames[i] == dtype) return static_cast<Dtype>(i);
  fail(ErrorKind::kIo, "{}: tensor {}: expected a dtype of {}, got {}", path, tensor, fmt::join(kNames, ", "),
       dtype);
}

SafetensorsEntry entry_of(const std::string& path, const std::string& tensor, const Json& json,
                          std::uint64_t data_bytes) {
  SafetensorsEntry entry{.dtype = json.at("dtype").get<std::string>(),
                         .shape = json.at("shape").get<std::vector<std::int64_t>>()};
  const auto offsets = json.at("data_offsets").get<std::array<std::uint64_t, 2>>();
  entry.begin = offsets[0];
  entry.end = offsets[1];
  if (std::any_of(entry.shape.begin(), entry.shape.end(), [](std::int64_t extent) { return extent < 0; }))
    fail(ErrorKind::kIo, "{}: tensor {}: expected a shape of elements, got [{}]", path, tensor,
         fmt::join(entry.shape, ", "));
  if (entry.begin > entry.end || entry.end > data_bytes)
    fail(ErrorKind::kIo, "{}: tensor {}: expected bytes within the {} that follow the header, got {} to {}",
         path, tensor, data_bytes, entry.begin, entry.end);
  return entry;
}

// Throws unless the entry's bytes are those of a tensor that Strobe can hold.
Dtype checked_dtype(const std::string& path, const std::string& tensor, const SafetensorsEntry& entry) {
  const Dtype dtype = dtype_of_name(path, tensor, entry.dtype);
  if (entry.shape.size() > kMaxRank)
    fail(ErrorKind::kIo, "{}: tensor {}: expected at most {} axes, got {}", path, tensor, kMaxRank,
         entry.shape.size());
  std::uint64_t bytes = size_of(dtype);
  for (std::int64_t extent : entry.shape)
    if (__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(extent), &bytes))
      fail(ErrorKind::kIo, "{}: tensor {}: expected a shape of elements, got [{}]", path, tensor,
           fmt::join(entry.shape, ", "));
  if (entry.end - entry.begin != bytes)
    fail(ErrorKind::kIo, "{}: tensor {}: expected {} bytes, got {} to {}", path, tensor, bytes, entry.begin,
         entry.end);
  return dtype;
}

Json read_header(std::FILE* file, const std::string& path, std::uint64_t file_bytes, std::uint64_t& bytes) {
  if (file_bytes < sizeof bytes || std::fread(&bytes, sizeof bytes, 1, file) != 1 ||
      bytes > kMostHeaderBytes || bytes > file_bytes - sizeof bytes)
    fail(ErrorKind::kIo, "{}: is no safetensors file: its {} bytes do not hold a header", path, file_bytes);
  std::string text(bytes, '\0');
  if (std::fread(text.data(), 1, text.size(), file) != text.size()) fail_at(path, "read");
  Json header = Json::parse(text, nullptr, false);
  if (!header.is_object())
    fail(ErrorKind::kIo, "{}: is no safetensors file: its header is no JSON object", path);
  header.erase("__metadata__");
  return header;
}

}  // namespace

void write_safetensors(const std::string& path, std::span<const NamedView> tensors) {
  std::string header = header_of(tensors).dump();
  header.resize((header.size() + 7) / 8 * 8, ' ');  // elements begin at a multiple of 8
  const std::uint64_t length = header.size();
  File file(std::fopen(path.c_str(), "wb"));
  if (!file) fail_at(path, "written");
  std::fwrite(&length, sizeof length, 1, file.get());
  std::fwrite(header.data(), 1, header.size(), file.get());
  for (const NamedView& tensor : tensors) write_elements(file.get(), tensor.view);
  const bool failed = std::ferror(file.get()) != 0;
  if (std::fclose(file.release()) != 0 || failed) fail_at(path, "written");
}

namespace {

struct OpenFile {
  File file;
  std::uint64_t data = 0;  // where the elements begin
  std::map<std::string, SafetensorsEntry> entries;
};

OpenFile open_safetensors(const std::string& path) {
  OpenFile result{.file = File(std::fopen(path.c_str(), "rb"))};
  if (!result.file || std::fseek(result.file.get(), 0, SEEK_END) != 0) fail_at(path, "read");
  const long size = std::ftell(result.file.get());
  std::rewind(result.file.get());
  if (size < 0) fail_at(path, "read");
  std::uint64_t header_bytes = 0;
  const auto file_bytes = static_cast<std::uint64_t>(size);
  const Json header = read_header(result.file.get(), path, file_bytes, header_bytes);
  result.data = sizeof header_bytes + header_bytes;
  for (const auto& [name, json] : header.items()) try {
      result.entries[name] = entry_of(path, name, json, file_bytes - result.data);
    } catch (const Json::exception& error) {
      fail(ErrorKind::kIo, "{}: tensor {}: {}", path, name, error.what());
    }
  return result;
}

Tensor read_tensor(const OpenFile& open, const std::string& path, const std::string& name,
                   const SafetensorsEntry& entry) {
  Tensor tensor(checked_dtype(path, name, entry), std::span<const std::int64_t>(entry.shape));
  const auto bytes = static_cast<std::size_t>(tensor.view().bytes());
  if (std::fseek(open.file.get(), static_cast<long>(open.data + entry.begin), SEEK_SET) != 0 ||
      std::fread(tensor.as<void>(), 1, bytes, open.file.get()) != bytes)
    fail_at(path, "read");
  return tensor;
}

}  // namespace

std::map<std::string, Tensor> read_safetensors(const std::string& path) {
  const OpenFile open = open_safetensors(path);
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, entry] : open.entries) tensors.emplace(name, read_tensor(open, path, name, entry));
  return tensors;
}

std::map<std::string, SafetensorsEntry> read_safetensors_header(const std::string& path) {
  return open_safetensors(path).entries;
}

Tensor read_safetensors_tensor(const std::string& path, const std::string& name) {
  const OpenFile open = open_safetensors(path);
  const auto found = open.entries.find(name);
  if (found == open.entries.end()) fail(ErrorKind::kIo, "{}: there is no tensor {}", path, name);
  return read_tensor(open, path, name, found->second);
}

}  // namespace strobe::inline v1
