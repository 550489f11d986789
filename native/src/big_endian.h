// Reads the big-endian integers of Kafka's formats from unaligned bytes.
#pragma once

#include <cstdint>
#include <cstring>

namespace varve {

inline uint32_t load_be_u32(const uint8_t* bytes) {
  uint32_t value;
  std::memcpy(&value, bytes, sizeof value);
  return __builtin_bswap32(value);
}

inline int32_t load_be_i32(const uint8_t* bytes) { return static_cast<int32_t>(load_be_u32(bytes)); }

inline int64_t load_be_i64(const uint8_t* bytes) {
  uint64_t value;
  std::memcpy(&value, bytes, sizeof value);
  return static_cast<int64_t>(__builtin_bswap64(value));
}

}  // namespace varve
