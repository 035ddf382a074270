// SHA-1 (FIPS 180-4), for the names that FlashInfer-Bench gives solutions. Nothing relies on its strength.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace strobe::trace {

class Sha1 {
 public:
  Sha1& add(std::string_view bytes);
  // 40 hexadecimal digits. Nothing may be added afterwards.
  std::string hex();

 private:
  void block(const unsigned char* bytes);

  std::array<std::uint32_t, 5> state_ = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  std::array<unsigned char, 64> pending_{};
  std::uint64_t length_ = 0;  // bytes added
};

}  // namespace strobe::trace
