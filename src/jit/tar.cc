#include "jit/tar.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "core/message.h"

namespace strobe::jit {
namespace {

constexpr std::size_t kBlock = 512;

// Numbers are octal digits; a field that is not filled ends in a null.
struct TarHeader {
  char name[100], mode[8], owner[8], group[8], size[12], modified[12], checksum[8], type, link[100], magic[6],
      version[2], owner_name[32], group_name[32], major[8], minor[8], prefix[155], padding[12];
};
static_assert(sizeof(TarHeader) == kBlock);

template <std::size_t size>
void set_number(char (&field)[size], std::uint64_t value) {
  const std::string digits = fmt::format("{:0{}o}", value, size - 1);
  std::memcpy(field, digits.data(), size - 1);
}

template <std::size_t size>
std::string_view text_of(const char (&field)[size]) {
  return {field, static_cast<std::size_t>(std::find(field, field + size, '\0') - field)};
}

// The checksum counts its own field as blanks.
std::uint64_t checksum_of(TarHeader header) {
  std::memset(header.checksum, ' ', sizeof header.checksum);
  std::uint64_t sum = 0;
  const auto* bytes = reinterpret_cast<const unsigned char*>(&header);
  for (std::size_t i = 0; i < kBlock; ++i) sum += bytes[i];
  return sum;
}

template <std::size_t size>
std::uint64_t number_of(const char (&field)[size]) {
  std::string_view text = text_of(field);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  std::uint64_t value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value, 8);
  if (result.ec != std::errc{} || result.ptr != text.data() + text.size())
    fail(ErrorKind::kInvalidArgument, "it is no tar archive: '{}' is no octal number", text);
  return value;
}

std::size_t padded(std::size_t bytes) { return (bytes + kBlock - 1) / kBlock * kBlock; }

}  // namespace

std::string write_tar(const std::vector<TarFile>& files) {
  std::string archive;
  for (const TarFile& file : files) {
    TarHeader header{};
    if (file.name.size() >= sizeof header.name)
      fail(ErrorKind::kInvalidArgument, "{} is too long a name for tar", file.name);
    std::memcpy(header.name, file.name.data(), file.name.size());
    set_number(header.mode, 0600);
    set_number(header.owner, 0);
    set_number(header.group, 0);
    set_number(header.size, file.content.size());
    set_number(header.modified, 0);  // equal contents make equal archives
    header.type = '0';
    std::memcpy(header.magic, "ustar", 6);
    std::memcpy(header.version, "00", 2);
    const std::string checksum = fmt::format("{:06o}", checksum_of(header));
    std::memcpy(header.checksum, checksum.data(), 6);
    header.checksum[6] = '\0';
    header.checksum[7] = ' ';
    archive.append(reinterpret_cast<const char*>(&header), kBlock);
    archive.append(file.content);
    archive.resize(padded(archive.size()));
  }
  archive.append(2 * kBlock, '\0');
  return archive;
}

std::vector<TarFile> read_tar(std::string_view archive) {
  std::vector<TarFile> files;
  for (;;) {
    if (archive.size() < kBlock) fail(ErrorKind::kInvalidArgument, "it is cut short, or no tar archive");
    TarHeader header;
    std::memcpy(&header, archive.data(), kBlock);
    archive.remove_prefix(kBlock);
    if (header.name[0] == '\0' && checksum_of(header) == ' ' * sizeof header.checksum)
      return files;  // a zero block
    if (number_of(header.checksum) != checksum_of(header))
      fail(ErrorKind::kInvalidArgument, "it is damaged, or no tar archive");
    const std::string name(text_of(header.name));
    if (header.type != '0' && header.type != '\0')
      fail(ErrorKind::kInvalidArgument, "'{}' is a link, a directory or a device, not a file", name);
    if (header.prefix[0] != '\0') fail(ErrorKind::kInvalidArgument, "'{}' has a folder in front", name);
    const std::uint64_t size = number_of(header.size);
    if (size > archive.size())
      fail(ErrorKind::kInvalidArgument, "it is cut short: '{}' has {} bytes", name, size);
    files.push_back({name, std::string(archive.substr(0, size))});
    archive.remove_prefix(std::min(padded(size), archive.size()));
  }
}

}  // namespace strobe::jit
