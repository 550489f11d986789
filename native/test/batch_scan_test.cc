#include "batch_scan.h"

#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include "crc32c.h"

using namespace varve;

namespace {

void store_be(uint8_t* at, uint64_t value, size_t bytes) {
  for (size_t i = 0; i < bytes; i++) at[i] = static_cast<uint8_t>(value >> (8 * (bytes - 1 - i)));
}

void stamp_crc(uint8_t* batch, size_t length) { store_be(batch + 17, crc32c(batch + 21, length - 21), 4); }

std::vector<uint8_t> make_batch(int64_t base_offset, int32_t records, int32_t epoch, size_t payload) {
  std::vector<uint8_t> batch(kBatchHeaderBytes + payload, 0x5a);
  std::memset(batch.data(), 0, kBatchHeaderBytes);
  store_be(batch.data(), static_cast<uint64_t>(base_offset), 8);
  store_be(batch.data() + 8, batch.size() - 12, 4);
  store_be(batch.data() + 12, static_cast<uint32_t>(epoch), 4);
  batch[16] = 2;
  store_be(batch.data() + 23, static_cast<uint32_t>(records - 1), 4);
  store_be(batch.data() + 35, 1700000000000, 8);
  store_be(batch.data() + 57, static_cast<uint32_t>(records), 4);
  stamp_crc(batch.data(), batch.size());
  return batch;
}

std::vector<uint8_t> join(const std::vector<std::vector<uint8_t>>& batches) {
  std::vector<uint8_t> all;
  for (const auto& batch : batches) all.insert(all.end(), batch.begin(), batch.end());
  return all;
}

ScanResult scan(const std::vector<uint8_t>& bytes, int64_t expected = -1, int64_t min_epoch = -1,
                uint64_t max_batches = 1000) {
  return scan_batches(bytes.data(), 0, bytes.size(), expected, min_epoch, max_batches);
}

}  // namespace

TEST_CASE("a scan reports whole batches with their offsets, epochs and timestamps") {
  const auto bytes = join({make_batch(10, 3, 1, 100), make_batch(13, 1, 2, 0), make_batch(14, 5, 2, 7)});
  const ScanResult result = scan(bytes, 10, 1);
  CHECK(result.end == ScanEnd::complete);
  CHECK(result.valid_end == bytes.size());
  REQUIRE(result.batches.size() == 3);
  CHECK(result.batches[0].last_offset == 12);
  CHECK(result.batches[1].position == 161);
  CHECK(result.batches[2].base_offset == 14);
  CHECK(result.batches[2].last_offset == 18);
  CHECK(result.batches[2].epoch == 2);
  CHECK(result.batches[2].max_timestamp == 1700000000000);
}

TEST_CASE("a scan stops after as many batches as asked for") {
  const auto bytes = join({make_batch(0, 1, 0, 10), make_batch(1, 1, 0, 10)});
  const ScanResult result = scan(bytes, 0, 0, 1);
  CHECK(result.end == ScanEnd::complete);
  CHECK(result.batches.size() == 1);
  CHECK(result.valid_end == 71);
}

TEST_CASE("zeros and every cut of the last batch are a short tail") {
  const auto first = make_batch(0, 2, 0, 30);
  auto bytes = join({first, make_batch(2, 1, 0, 30)});
  for (size_t cut = first.size() + 1; cut < bytes.size(); cut++) {
    const ScanResult result = scan_batches(bytes.data(), 0, cut, 0, 0, 1000);
    REQUIRE(result.end == ScanEnd::short_tail);
    REQUIRE(result.valid_end == first.size());
  }
  bytes.assign(first.begin(), first.end());
  bytes.resize(first.size() + 500, 0);
  CHECK(scan(bytes).end == ScanEnd::short_tail);
  CHECK(scan(bytes).valid_end == first.size());
}

TEST_CASE("every flipped bit from the attributes on is a fault") {
  const auto good = make_batch(0, 2, 0, 20);
  for (size_t byte = 21; byte < good.size(); byte++) {
    for (int bit = 0; bit < 8; bit++) {
      auto bytes = good;
      bytes[byte] = static_cast<uint8_t>(bytes[byte] ^ (1 << bit));
      const ScanResult result = scan(bytes);
      REQUIRE((result.end == ScanEnd::bad_crc || result.end == ScanEnd::malformed));
      REQUIRE(result.valid_end == 0);
    }
  }
}

TEST_CASE("offsets that do not join and epochs that go back are out of order") {
  CHECK(scan(make_batch(5, 1, 0, 1), 4).end == ScanEnd::out_of_order);
  CHECK(scan(make_batch(5, 1, 3, 1), 5, 4).end == ScanEnd::out_of_order);
  CHECK(scan(join({make_batch(0, 2, 4, 1), make_batch(2, 1, 3, 1)})).end == ScanEnd::out_of_order);
  CHECK(scan(join({make_batch(0, 2, 4, 1), make_batch(3, 1, 4, 1)})).end == ScanEnd::out_of_order);
}

TEST_CASE("lengths, magics, counts and offsets that cannot be are malformed") {
  const auto with = [](size_t at, uint64_t value, size_t bytes) {
    auto batch = make_batch(0, 2, 0, 20);
    store_be(batch.data() + at, value, bytes);
    stamp_crc(batch.data(), batch.size());
    return scan(batch).end;
  };
  CHECK(with(16, 1, 1) == ScanEnd::malformed);
  CHECK(with(8, 48, 4) == ScanEnd::malformed);
  CHECK(with(8, 0x80000000, 4) == ScanEnd::malformed);
  CHECK(with(57, 3, 4) == ScanEnd::malformed);
  CHECK(with(57, 0xffffffff, 4) == ScanEnd::malformed);
  CHECK(with(23, 0xffffffff, 4) == ScanEnd::malformed);
  CHECK(with(0, uint64_t{1} << 53, 8) == ScanEnd::malformed);
  CHECK(with(0, (uint64_t{1} << 53) - 1, 8) == ScanEnd::malformed);  // its last offset
  CHECK(with(0, uint64_t{1} << 63, 8) == ScanEnd::malformed);
  // What compaction leaves: offsets without records.
  CHECK(with(57, 0, 4) == ScanEnd::complete);
}

TEST_CASE("garbage never makes a scan read outside its bytes") {
  std::mt19937 random(7);
  for (int round = 0; round < 20000; round++) {
    const size_t length = random() % 300;
    // An allocation of exactly this size, so that the sanitizer sees a read beyond it.
    const std::unique_ptr<uint8_t[]> bytes(new uint8_t[length]);
    for (size_t i = 0; i < length; i++) bytes[i] = static_cast<uint8_t>(random());
    if (length > 16 && random() % 2 == 0) {
      // Past the first checks: a plausible magic and length.
      bytes[16] = 2;
      store_be(bytes.get() + 8, random() % 400, 4);
    }
    const ScanResult result = scan_batches(bytes.get(), 0, length, -1, -1, 100);
    REQUIRE(result.valid_end <= length);
  }
}
