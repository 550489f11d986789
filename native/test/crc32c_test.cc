#include "crc32c.h"

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using varve::crc32c;
using varve::crc32c_implementations;

namespace {

// The definition, bit by bit.
uint32_t reference(const uint8_t* bytes, size_t length, uint32_t seed) {
  uint32_t crc = ~seed;
  for (size_t i = 0; i < length; i++) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0);
  }
  return ~crc;
}

}  // namespace

TEST_CASE("every implementation gives the published check values (RFC 3720, B.4)") {
  for (const auto& implementation : crc32c_implementations()) {
    CAPTURE(implementation.name);
    std::vector<uint8_t> bytes(32, 0);
    CHECK(implementation.compute(bytes.data(), 32, 0) == 0x8a9136aa);
    bytes.assign(32, 0xff);
    CHECK(implementation.compute(bytes.data(), 32, 0) == 0x62a8ab43);
    for (size_t i = 0; i < 32; i++) bytes[i] = static_cast<uint8_t>(i);
    CHECK(implementation.compute(bytes.data(), 32, 0) == 0x46dd794e);
    for (size_t i = 0; i < 32; i++) bytes[i] = static_cast<uint8_t>(31 - i);
    CHECK(implementation.compute(bytes.data(), 32, 0) == 0x113fdb5c);
    CHECK(implementation.compute("123456789", 9, 0) == 0xe3069283);
    CHECK(implementation.compute("", 0, 0) == 0);
  }
}

TEST_CASE("every implementation agrees with the definition at every length, alignment and seed") {
  std::mt19937 random(20260101);
  std::vector<uint8_t> bytes(9000);
  for (auto& byte : bytes) byte = static_cast<uint8_t>(random());
  // Lengths around the stripes of the hardware implementation (3 × 128 and 3 × 1024), and everything short.
  std::vector<size_t> lengths;
  for (size_t length = 0; length <= 1200; length++) lengths.push_back(length);
  for (size_t length = 3000; length <= 3500; length += 7) lengths.push_back(length);
  for (size_t length = 6100; length <= 8900; length += 111) lengths.push_back(length);
  for (const auto& implementation : crc32c_implementations()) {
    CAPTURE(implementation.name);
    for (const size_t length : lengths) {
      const size_t offset = length % 17;
      const auto seed = static_cast<uint32_t>(random());
      CAPTURE(length);
      REQUIRE(implementation.compute(bytes.data() + offset, length, seed) ==
              reference(bytes.data() + offset, length, seed));
    }
  }
}

TEST_CASE("a CRC continues from the CRC of the bytes before") {
  std::vector<uint8_t> bytes(5000);
  for (size_t i = 0; i < bytes.size(); i++) bytes[i] = static_cast<uint8_t>(i * 31);
  const uint32_t whole = crc32c(bytes.data(), bytes.size());
  for (size_t cut = 0; cut <= bytes.size(); cut += 37) {
    REQUIRE(crc32c(bytes.data() + cut, bytes.size() - cut, crc32c(bytes.data(), cut)) == whole);
  }
}
