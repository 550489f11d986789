#include "batch_scan.h"

#include <algorithm>

#include "big_endian.h"
#include "crc32c.h"

namespace varve {
namespace {

constexpr size_t kLengthPrefixBytes = 12;  // base offset and batch length
constexpr size_t kCrcFromByte = 21;

bool all_zero(const uint8_t* bytes, size_t length) {
  return std::all_of(bytes, bytes + length, [](uint8_t byte) { return byte == 0; });
}

// Structure and CRC of the batch at `bytes`, of which `available` bytes can be read.
ScanEnd check_batch(const uint8_t* bytes, size_t available, ScannedBatch& batch) {
  if (available < kBatchHeaderBytes || all_zero(bytes, kBatchHeaderBytes)) return ScanEnd::short_tail;
  const int32_t declared = load_be_i32(bytes + 8);
  if (bytes[16] != 2 || declared < static_cast<int32_t>(kBatchHeaderBytes - kLengthPrefixBytes)) {
    return ScanEnd::malformed;
  }
  batch.length = static_cast<size_t>(declared) + kLengthPrefixBytes;
  if (batch.length > available) return ScanEnd::short_tail;

  const int32_t last_delta = load_be_i32(bytes + 23);
  const int32_t count = load_be_i32(bytes + 57);
  batch.base_offset = load_be_i64(bytes);
  batch.epoch = load_be_i32(bytes + 12);
  batch.max_timestamp = load_be_i64(bytes + 35);
  // Compaction leaves batches with fewer records than offsets, down to none at all.
  if (last_delta < 0 || count < 0 || int64_t{count} > int64_t{last_delta} + 1) return ScanEnd::malformed;
  if (batch.base_offset < 0 || batch.base_offset > kMaxOffset - last_delta) return ScanEnd::malformed;
  batch.last_offset = batch.base_offset + last_delta;

  const uint32_t stored = load_be_u32(bytes + 17);
  if (crc32c(bytes + kCrcFromByte, batch.length - kCrcFromByte) != stored) return ScanEnd::bad_crc;
  return ScanEnd::complete;
}

}  // namespace

ScanResult scan_batches(const uint8_t* bytes, size_t start, size_t limit, int64_t expected_offset, int64_t min_epoch,
                        uint64_t max_batches) {
  ScanResult result{ScanEnd::complete, start, {}};
  while (result.valid_end < limit && result.batches.size() < max_batches) {
    ScannedBatch batch{};
    batch.position = result.valid_end;
    result.end = check_batch(bytes + batch.position, limit - batch.position, batch);
    if (result.end != ScanEnd::complete) break;
    if ((expected_offset >= 0 && batch.base_offset != expected_offset) || batch.epoch < min_epoch) {
      result.end = ScanEnd::out_of_order;
      break;
    }
    result.batches.push_back(batch);
    result.valid_end += batch.length;
    expected_offset = batch.last_offset + 1;
    min_epoch = batch.epoch;
  }
  return result;
}

}  // namespace varve
