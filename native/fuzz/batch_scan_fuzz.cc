// libFuzzer: the scan of stored batches over arbitrary bytes. Beyond what the sanitizers see, what it reports must hold
// together: batches that lie end to end inside the bytes, offsets that join, epochs that do not go back.
//
//   input: options u8 | bytes
//   options: bit 0 repair the CRC of whatever looks like a batch, so that the checks behind it are reached
//            bit 1 expect the first offset 0   bit 2 at most two batches   bits 3-7 the scan starts at this position
#include "batch_scan.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "big_endian.h"
#include "crc32c.h"

using namespace varve;

namespace {

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

void repair_checksums(uint8_t* bytes, size_t from, size_t size) {
  for (size_t at = from; at + kBatchHeaderBytes <= size;) {
    const int64_t length = int64_t{load_be_i32(bytes + at + 8)} + 12;
    if (length < static_cast<int64_t>(kBatchHeaderBytes) || length > static_cast<int64_t>(size - at)) return;
    const uint32_t crc = crc32c(bytes + at + 21, static_cast<size_t>(length) - 21);
    for (int i = 0; i < 4; i++) bytes[at + 17 + i] = static_cast<uint8_t>(crc >> (24 - 8 * i));
    at += static_cast<size_t>(length);
  }
}

void check(const ScanResult& result, size_t start, size_t limit, int64_t expected_offset, uint64_t max_batches) {
  size_t position = start;
  int64_t offset = expected_offset;
  int64_t epoch = -1;
  for (const ScannedBatch& batch : result.batches) {
    require(batch.position == position, "batches lie end to end");
    require(batch.length >= kBatchHeaderBytes && batch.length <= limit - position, "a batch lies inside the bytes");
    require(offset < 0 || batch.base_offset == offset, "offsets join");
    require(batch.base_offset >= 0 && batch.last_offset >= batch.base_offset, "offsets rise within a batch");
    require(batch.last_offset <= kMaxOffset, "offsets stay below 2^53");
    require(batch.epoch >= epoch, "epochs do not go back");
    position += batch.length;
    offset = batch.last_offset + 1;
    epoch = batch.epoch;
  }
  require(result.valid_end == position, "the valid end is where the last batch ends");
  require(result.batches.size() <= max_batches, "no more batches than asked for");
  const bool all = position == limit || result.batches.size() == max_batches;
  require((result.end == ScanEnd::complete) == all, "complete is what reached the end, or the number asked for");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const uint8_t options = data[0];
  const size_t limit = size - 1;
  // A piece of memory of its own, so that a read of one byte too many is seen.
  const std::unique_ptr<uint8_t[]> bytes(new uint8_t[limit]);
  std::memcpy(bytes.get(), data + 1, limit);
  const size_t start = options >> 3 <= limit ? options >> 3 : 0;
  if ((options & 1) != 0) repair_checksums(bytes.get(), start, limit);
  const int64_t expected_offset = (options & 2) != 0 ? 0 : -1;
  const uint64_t max_batches = (options & 4) != 0 ? 2 : UINT64_MAX;
  check(scan_batches(bytes.get(), start, limit, expected_offset, -1, max_batches), start, limit, expected_offset,
        max_batches);
  return 0;
}
