// CRC-32C (Castagnoli, reflected, initial value and final xor 0xffffffff), the checksum of record batches and of the
// journal. The fastest implementation this processor has is chosen once, at run time; the table one is everywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace varve {

// Continues from `seed`, the CRC of everything before (0 to begin): crc32c(b, crc32c(a)) == crc32c(ab).
uint32_t crc32c(const void* data, size_t length, uint32_t seed = 0);

struct Crc32cImplementation {
  const char* name;
  uint32_t (*compute)(const void* data, size_t length, uint32_t seed);
};

// Every implementation that runs on this processor; the last one is the one that `crc32c` uses.
std::span<const Crc32cImplementation> crc32c_implementations();
const char* crc32c_implementation_name();

}  // namespace varve
