// SHA-256 (FIPS 180-4). Why this one: the digests stand in cache entries and packs, where `sha256sum` can
// check them, and a pack may come from elsewhere, so a digest must not be easy to match. At some 200 MB/s it
// is not what a compile or a load waits for.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace strobe::jit {

class Sha256 {
 public:
  Sha256& add(std::string_view bytes);
  // The length, then the bytes: fields added so cannot run into one another.
  Sha256& add_field(std::string_view bytes);
  // 64 hexadecimal digits. Nothing may be added afterwards.
  std::string hex();

 private:
  void block(const unsigned char* bytes);

  std::array<std::uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<unsigned char, 64> pending_{};
  std::uint64_t length_ = 0;  // bytes added
};

std::string sha256_hex(std::string_view bytes);

}  // namespace strobe::jit
