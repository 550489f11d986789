#include "journal_format.h"

#include <cstring>

#include "crc32c.h"

namespace varve {

void encode_file_header(JournalFileHeader header, uint8_t* block) {
  header.crc = 0;
  std::memset(block, 0, kJournalBlockBytes);
  std::memcpy(block, &header, sizeof header);
  constexpr size_t kCrcAt = offsetof(JournalFileHeader, crc);
  const uint32_t before = crc32c(block, kCrcAt);
  const uint32_t crc = crc32c(block + sizeof header, kJournalBlockBytes - sizeof header, before);
  std::memcpy(block + kCrcAt, &crc, sizeof crc);
}

void encode_file_end(JournalFileEnd end, const Identity& directory_id, uint8_t* block) {
  end.checksum = crc32c(&end, offsetof(JournalFileEnd, checksum), group_seed(directory_id, end.file_number, end.lsn));
  std::memset(block, 0, kJournalBlockBytes);
  std::memcpy(block, &end, sizeof end);
}

uint32_t group_seed(const Identity& directory_id, uint64_t file_number, uint64_t lsn) {
  uint8_t bytes[32];
  std::memcpy(bytes, directory_id.data(), 16);
  std::memcpy(bytes + 16, &file_number, 8);
  std::memcpy(bytes + 24, &lsn, 8);
  return crc32c(bytes, sizeof bytes);
}

std::string journal_file_name(uint64_t file_number) {
  const std::string digits = std::to_string(file_number);
  return std::string(20 - digits.size(), '0') + digits + ".wal";
}

}  // namespace varve
