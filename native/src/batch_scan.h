// Scans stored record batches (Kafka's RecordBatch, magic 2): structure, CRC32C, offsets that join, epochs that do not go
// back. It reads whatever bytes it is given, so nothing in them is trusted before it was checked.
//
//    0 base offset i64            21 attributes i16 ........ the CRC covers from here to the end
//    8 batch length i32           23 last offset delta i32
//   12 leader epoch i32           27 base timestamp i64    35 max timestamp i64
//   16 magic i8 = 2               43 producer id i64       51 producer epoch i16    53 base sequence i32
//   17 CRC32C u32                 57 record count i32      61 records
//
// "batch length" counts the bytes after itself. All integers are big-endian.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace varve {

constexpr size_t kBatchHeaderBytes = 61;
constexpr int64_t kMaxOffset = (int64_t{1} << 53) - 1;

// The order is part of the interface to src/disk/addon.ts.
enum class ScanEnd : uint32_t { complete, short_tail, malformed, bad_crc, out_of_order };

struct ScannedBatch {
  size_t position;
  size_t length;
  int64_t base_offset;
  int64_t last_offset;
  int32_t epoch;
  int64_t max_timestamp;
};

struct ScanResult {
  ScanEnd end;
  size_t valid_end;
  std::vector<ScannedBatch> batches;
};

// Checks bytes[start, limit). `expected_offset` −1: the first batch may have any offset.
ScanResult scan_batches(const uint8_t* bytes, size_t start, size_t limit, int64_t expected_offset, int64_t min_epoch,
                        uint64_t max_batches);

}  // namespace varve
