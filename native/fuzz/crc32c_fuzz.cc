// libFuzzer: every CRC32C that runs on this processor, over any bytes at any alignment and in two pieces, against the
// definition, bit by bit.
//
//   input: split u8 | alignment u8 | bytes
#include "crc32c.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

using namespace varve;

namespace {

uint32_t by_definition(const uint8_t* bytes, size_t length) {
  uint32_t crc = 0xffffffff;
  for (size_t i = 0; i < length; i++) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78 : 0);
  }
  return ~crc;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const size_t length = size - 2;
  const size_t shift = data[1] % 16;
  const std::unique_ptr<uint8_t[]> memory(new uint8_t[length + shift]);
  uint8_t* const bytes = memory.get() + shift;
  std::memcpy(bytes, data + 2, length);
  const uint32_t expected = by_definition(bytes, length);
  const size_t split = length * data[0] / 256;
  for (const Crc32cImplementation& implementation : crc32c_implementations()) {
    if (implementation.compute(bytes, length, 0) != expected) std::abort();
    const uint32_t first = implementation.compute(bytes, split, 0);
    if (implementation.compute(bytes + split, length - split, first) != expected) std::abort();
  }
  return 0;
}
