// The bytes of the journal (docs/FORMAT.md tells the same story at length). All integers are little-endian; CRC is
// CRC-32C. A file is named by its number, 20 digits and ".wal":
//
//    0      4096                                                  4096-aligned
//    +------+---------------------------+-------------------------+------------------------------
//    | file | group                     | group                   | zeros, or groups of an older
//    | head | header, records, zero pad | header, records, pad    | life of this (recycled) file
//    +------+---------------------------+-------------------------+------------------------------
//
// LSN: bytes of groups, padding included, over the whole history of the journal. The group at position p of a file has
// LSN start + (p - 4096).
//
//   file header (4096 bytes, zeros after the 48)        group header (48)                record header (80)
//    0 magic "VWAL"                                      0 magic "VGRP"                   0 CRC of [4, 80) and payload
//    4 version u16      6 header length u16 (48)         4 version u16                    4 length u32, with header
//    8 file number u64                                   6 header length u16 (48)         8 type u16    10 flags u16 (0)
//   16 start LSN u64                                     8 LSN u64                       12 partition u32
//   24 directory id, 16 bytes                           16 file number u64               16 topic id, 16 bytes
//   40 checksum of the group before u32                 24 durable LSN u64               32 segment base offset u64
//   44 CRC of the 4096 bytes without this field         32 length u32, without pad       40 position u64
//                                                       36 record count u32              48 last offset i64
//                                                       40 checksum of the group before  56 HW floor i64
//                                                       44 checksum                      64 generation u64
//                                                                                        72 epoch i32   76 zero u32
//
// A group's checksum is the CRC of: directory id, file number u64, LSN u64 (the seed, not stored as such), then the 44
// bytes before it, then every record header. Payload bytes are covered through the CRC in their record's header, so each
// byte is hashed once. Since number and LSN seed it, a stale group of a recycled file cannot be taken for a new one, and
// since each group names the one before it, none can be missing unseen.
//
// A file that was left for the next one gets a block of its own behind its last group, once groups of the next file are on
// disk and before anybody is told of them. It says how far: who finds the block and not those groups knows that they were
// lost. It is no part of the chain and has no LSN.
//
//   end of file (4096 bytes, zeros after the 48)
//    0 magic "VEND"                   16 file number u64          40 checksum of the file's last group u32
//    4 version u16                    24 next file number u64     44 checksum: as a group's, of the 44 bytes before
//    6 length u16 (48)                32 durable LSN u64, in the next file
//    8 LSN u64, where this file ends
//
// "durable LSN" is how far the journal was known to be on disk when the group was written. A bad group at LSN x is a torn
// write unless some later group says that x was durable; then it is corruption.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace varve {

constexpr size_t kJournalBlockBytes = 4096;
constexpr uint32_t kFileMagic = 0x4c415756;   // "VWAL"
constexpr uint32_t kGroupMagic = 0x50524756;  // "VGRP"
constexpr uint32_t kFileEndMagic = 0x444e4556;  // "VEND"
constexpr uint16_t kJournalVersion = 1;
constexpr uint16_t kStoredRecordType = 1;
// A header without payload: everything up to `position` of the segment, and so up to `last offset`, is durable there.
constexpr uint16_t kDurableMarkRecordType = 6;

using Identity = std::array<uint8_t, 16>;

struct JournalFileHeader {
  uint32_t magic = kFileMagic;
  uint16_t version = kJournalVersion;
  uint16_t header_bytes = 48;
  uint64_t file_number = 0;
  uint64_t start_lsn = 0;
  Identity directory_id{};
  uint32_t previous_checksum = 0;
  uint32_t crc = 0;
};
static_assert(sizeof(JournalFileHeader) == 48);

struct JournalGroupHeader {
  uint32_t magic = kGroupMagic;
  uint16_t version = kJournalVersion;
  uint16_t header_bytes = 48;
  uint64_t lsn = 0;
  uint64_t file_number = 0;
  uint64_t durable_lsn = 0;
  uint32_t content_bytes = 0;
  uint32_t record_count = 0;
  uint32_t previous_checksum = 0;
  uint32_t checksum = 0;
};
static_assert(sizeof(JournalGroupHeader) == 48);
static_assert(offsetof(JournalGroupHeader, checksum) == 44);

struct JournalFileEnd {
  uint32_t magic = kFileEndMagic;
  uint16_t version = kJournalVersion;
  uint16_t end_bytes = 48;
  uint64_t lsn = 0;
  uint64_t file_number = 0;
  uint64_t next_file_number = 0;
  uint64_t durable_lsn = 0;
  uint32_t previous_checksum = 0;
  uint32_t checksum = 0;
};
static_assert(sizeof(JournalFileEnd) == 48);
static_assert(offsetof(JournalFileEnd, checksum) == 44);

struct JournalRecordHeader {
  uint32_t crc = 0;
  uint32_t length = 0;
  uint16_t type = 0;
  uint16_t flags = 0;
  uint32_t partition = 0;
  Identity topic_id{};
  uint64_t segment_base_offset = 0;
  uint64_t position = 0;
  int64_t last_offset = 0;
  int64_t hw_floor = 0;
  uint64_t generation = 0;
  int32_t epoch = 0;
  uint32_t zero = 0;
};
static_assert(sizeof(JournalRecordHeader) == 80);
static_assert(offsetof(JournalRecordHeader, generation) == 64);

constexpr uint64_t padded_to_block(uint64_t bytes) {
  return (bytes + kJournalBlockBytes - 1) / kJournalBlockBytes * kJournalBlockBytes;
}

// Writes the header's 4096 bytes, CRC included, to `block`.
void encode_file_header(JournalFileHeader header, uint8_t* block);

// Writes the end's 4096 bytes, checksum included, to `block`.
void encode_file_end(JournalFileEnd end, const Identity& directory_id, uint8_t* block);

// What a group's checksum starts from.
uint32_t group_seed(const Identity& directory_id, uint64_t file_number, uint64_t lsn);

std::string journal_file_name(uint64_t file_number);

}  // namespace varve
