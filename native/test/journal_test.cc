#include "journal.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <map>
#include <future>
#include <mutex>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include "crc32c.h"
#include "journal_format.h"
#include "temporary_directory.h"

using namespace varve;

namespace {

constexpr Identity kDirectoryId = {1, 2, 3, 4};

struct ReadRecord {
  JournalRecordHeader header;
  std::vector<uint8_t> payload;
};

struct ReadGroup {
  JournalGroupHeader header;
  std::vector<ReadRecord> records;
};

template <typename T>
T load(const std::vector<uint8_t>& bytes, size_t at) {
  T value;
  REQUIRE(at + sizeof value <= bytes.size());
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

// A second, independent reading of the format: all groups of a file, checked.
std::vector<ReadGroup> read_file(const std::string& path, uint64_t number, uint64_t& lsn, uint32_t& checksum) {
  const auto bytes = read_whole_file(path);
  std::vector<ReadGroup> groups;
  const auto file = load<JournalFileHeader>(bytes, 0);
  if (file.magic != kFileMagic || file.file_number != number) return groups;
  CHECK(file.directory_id == kDirectoryId);
  CHECK(file.start_lsn == lsn);
  CHECK(file.previous_checksum == checksum);
  CHECK(file.crc == crc32c(bytes.data() + 48, 4096 - 48, crc32c(bytes.data(), 44)));
  for (size_t at = 4096; at + 4096 <= bytes.size();) {
    const auto header = load<JournalGroupHeader>(bytes, at);
    if (header.magic != kGroupMagic || header.file_number != number || header.lsn != lsn) break;
    CHECK(header.previous_checksum == checksum);
    CHECK(header.durable_lsn <= header.lsn);
    uint32_t sum = crc32c(bytes.data() + at, 44, group_seed(kDirectoryId, number, lsn));
    ReadGroup group{header, {}};
    size_t next = at + sizeof header;
    while (next < at + header.content_bytes) {
      const auto record = load<JournalRecordHeader>(bytes, next);
      REQUIRE(next + record.length <= at + header.content_bytes);
      CHECK(record.crc == crc32c(bytes.data() + next + 4, record.length - 4));
      sum = crc32c(bytes.data() + next, sizeof record, sum);
      const auto* payload = bytes.data() + next + sizeof record;
      group.records.push_back({record, {payload, payload + record.length - sizeof record}});
      next += record.length;
    }
    CHECK(sum == header.checksum);
    CHECK(group.records.size() == header.record_count);
    const size_t padded = padded_to_block(header.content_bytes);
    for (; next < at + padded; next++) REQUIRE(bytes[next] == 0);
    lsn += padded;
    checksum = header.checksum;
    at += padded;
    groups.push_back(std::move(group));
  }
  return groups;
}

std::vector<ReadGroup> read_chain(const std::string& directory, uint64_t first, uint64_t last) {
  uint64_t lsn = 0;
  uint32_t checksum = 0;
  std::vector<ReadGroup> chain;
  for (uint64_t number = first; number <= last; number++) {
    auto groups = read_file(directory + "/" + journal_file_name(number), number, lsn, checksum);
    chain.insert(chain.end(), std::make_move_iterator(groups.begin()), std::make_move_iterator(groups.end()));
  }
  return chain;
}

// A journal in a directory of its own, with everything it needs.
class Fixture {
 public:
  explicit Fixture(uint64_t file_bytes = 64 << 10, uint64_t async_max_ms = 1 << 30, uint64_t max_group_bytes = 1 << 20,
                   uint64_t direct_flush_bytes = 0, uint64_t direct_mark_max_ms = 1 << 30) {
    JournalConfig config;
    config.directory = directory.path();
    config.directory_id = kDirectoryId;
    config.first_file_number = 1;
    config.file_bytes = file_bytes;
    config.max_group_bytes = max_group_bytes;
    config.async_max_ms = async_max_ms;
    config.async_max_bytes = 1 << 30;
    config.direct_flush_bytes = direct_flush_bytes;
    config.direct_mark_max_ms = direct_mark_max_ms;
    journal = std::make_unique<Journal>(config, background, health, [this] {
      const std::lock_guard lock(mutex_);
      notified_++;
      durable_tickets.push_back(journal ? journal->progress().durable_ticket : 0);
      changed_.notify_all();
    });
    REQUIRE(!journal->start());
  }
  ~Fixture() {
    journal->stop(false);
    background.stop();
  }

  uint64_t append(uint32_t log, const std::vector<uint8_t>& payload, FlushMode mode, uint16_t type = 2) {
    PendingRecord record;
    record.log = log;
    record.type = type;
    record.mode = mode;
    record.length = payload.size();
    record.payload = std::make_unique<uint8_t[]>(payload.size());
    std::copy(payload.begin(), payload.end(), record.payload.get());
    return submit(std::move(record));
  }

  uint64_t append_stored(uint32_t log, const SegmentRef& segment, uint64_t position, uint64_t length, FlushMode mode,
                         uint64_t generation = 0) {
    PendingRecord record;
    record.log = log;
    record.mode = mode;
    record.generation = generation;
    record.position = position;
    record.length = length;
    record.last_offset = static_cast<int64_t>(position + length);
    record.segment = SegmentRef(segment);
    return submit(std::move(record));
  }

  uint64_t submit(PendingRecord&& record) {
    uint64_t ticket = 0;
    const auto failure = journal->submit(std::move(record), ticket);
    REQUIRE_MESSAGE(!failure, (failure ? failure->message : ""));
    return ticket;
  }

  void await_durable(uint64_t ticket) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] {
      const auto progress = journal->progress();
      return progress.durable_ticket >= ticket || progress.stopped;
    });
    REQUIRE(journal->progress().durable_ticket >= ticket);
  }

  Failure await_failure() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return journal->progress().stopped; });
    REQUIRE(journal->progress().failure);
    return *journal->progress().failure;
  }

  std::vector<ReadGroup> read() { return read_chain(directory.path(), 1, journal->current_file_number()); }

  TemporaryDirectory directory;
  Background background{"test"};
  std::shared_ptr<Health> health = std::make_shared<Health>();
  std::unique_ptr<Journal> journal;
  std::vector<uint64_t> durable_tickets;  // as they were reported; to be looked at when the journal has stopped

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t notified_ = 0;
};

std::vector<uint8_t> bytes_of(const char* text) { return {text, text + std::strlen(text)}; }

}  // namespace

TEST_CASE("records come back as they were submitted, in one chain over many small files") {
  Fixture fixture;
  const uint32_t log = fixture.journal->register_log({{9}, 4});
  std::mt19937 random(11);
  std::vector<std::vector<uint8_t>> submitted;
  uint64_t last = 0;
  for (int i = 0; i < 400; i++) {
    std::vector<uint8_t> payload(random() % 9000);
    for (auto& byte : payload) byte = static_cast<uint8_t>(random());
    last = fixture.append(log, payload, FlushMode::sync);
    submitted.push_back(std::move(payload));
    if (i % 7 == 0) fixture.await_durable(last);
  }
  CHECK(last == 400);
  fixture.await_durable(last);
  std::vector<std::vector<uint8_t>> read;
  for (const auto& group : fixture.read()) {
    for (const auto& record : group.records) {
      CHECK(record.header.topic_id[0] == 9);
      CHECK(record.header.partition == 4);
      read.push_back(record.payload);
    }
  }
  CHECK(read == submitted);
  const auto counters = fixture.journal->counters();
  CHECK(counters.file_rolls > 5);
  CHECK(counters.records == 400);
  CHECK(counters.pending_bytes == 0);
}

TEST_CASE("what is submitted while a sync runs shares the next one") {
  Fixture fixture(8 << 20);
  const uint32_t log = fixture.journal->register_log({});
  uint64_t last = 0;
  for (int i = 0; i < 20000; i++) last = fixture.append(log, bytes_of("x"), FlushMode::sync);
  fixture.await_durable(last);
  CHECK(fixture.journal->counters().syncs < 10000);
}

TEST_CASE("stored records that continue each other become one; another log, generation or kind of record parts them") {
  Fixture fixture(8 << 20);
  SegmentRef a, b;
  REQUIRE(!MappedSegment::create(fixture.directory.file("a.log"), 1 << 20, std::make_shared<SegmentGround>(fixture.health), a));
  REQUIRE(!MappedSegment::create(fixture.directory.file("b.log"), 1 << 20, std::make_shared<SegmentGround>(fixture.health), b));
  std::vector<uint8_t> bytes(60000);
  for (size_t i = 0; i < bytes.size(); i++) bytes[i] = static_cast<uint8_t>(i * 7);
  uint64_t position = 0;
  REQUIRE(!a->append(bytes.data(), bytes.size(), position));
  REQUIRE(!b->append(bytes.data(), bytes.size(), position));
  const uint32_t log_a = fixture.journal->register_log({{1}, 0});
  const uint32_t log_b = fixture.journal->register_log({{2}, 0});
  // None of these asks for a sync, so that all are in one group.
  fixture.append_stored(log_a, a, 0, 100, FlushMode::none);
  fixture.append_stored(log_b, b, 0, 5000, FlushMode::none);
  fixture.append_stored(log_a, a, 100, 5000, FlushMode::none);     // joins, across the other log
  fixture.append_stored(log_b, b, 5000, 1, FlushMode::none, 1);    // another generation
  fixture.append_stored(log_a, a, 6000, 10, FlushMode::none);      // a gap
  fixture.append(log_a, bytes_of("truncation"), FlushMode::none);  // a barrier
  fixture.append_stored(log_a, a, 6010, 10, FlushMode::none);
  fixture.append_stored(log_b, b, 5001, 10, FlushMode::none, 1);
  fixture.await_durable(fixture.journal->request_flush());
  const auto chain = fixture.read();
  REQUIRE(chain.size() == 1);
  const auto& records = chain[0].records;
  REQUIRE(records.size() == 7);
  CHECK(records[0].payload.size() == 5100);
  CHECK(records[0].header.last_offset == 5100);
  CHECK(records[1].payload.size() == 5000);
  for (const auto& record : records) {
    if (record.header.type != kStoredRecordType) continue;
    const auto* expected = bytes.data() + record.header.position;
    CHECK(record.payload == std::vector<uint8_t>(expected, expected + record.payload.size()));
  }
}

TEST_CASE("a group of 512 partitions is one write of whole blocks, whatever is pending in each") {
  TemporaryDirectory directory;
  SegmentRef segment;
  REQUIRE(!MappedSegment::create(directory.file("0.log"), 16 << 20,
                                 std::make_shared<SegmentGround>(std::make_shared<Health>()), segment));
  const std::vector<uint8_t> bytes(8192, 7);
  for (const size_t pending : {size_t{128}, size_t{4096}, size_t{8192}}) {
    JournalGroup group(kDirectoryId, 64 << 20);
    for (uint32_t log = 0; log < 512; log++) {
      PendingRecord record;
      record.log = log;
      REQUIRE(!segment->append(bytes.data(), pending, record.position));
      record.length = pending;
      record.segment = SegmentRef(segment);
      group.add(std::move(record), {{1}, log});
    }
    REQUIRE(!group.seal({1, 0, 0, 0, true}));
    CHECK(group.bytes().size() == kJournalBlockBytes + group.padded_bytes());
    CHECK(group.bytes().size() % kJournalBlockBytes == 0);
    CHECK(reinterpret_cast<uintptr_t>(group.bytes().data()) % AlignedBuffer::kAlignment == 0);
  }
}

TEST_CASE("a large run of batches is flushed in its segment; its mark leads the next group") {
  Fixture fixture(8 << 20, 1 << 30, 1 << 20, 50000);
  SegmentRef a;
  REQUIRE(!MappedSegment::create(fixture.directory.file("a.log"), 1 << 20, std::make_shared<SegmentGround>(fixture.health), a));
  const std::vector<uint8_t> bytes(200000, 9);
  uint64_t position = 0;
  REQUIRE(!a->append(bytes.data(), bytes.size(), position));
  const uint32_t log = fixture.journal->register_log({{1}, 0});
  fixture.await_durable(fixture.append_stored(log, a, 0, 100, FlushMode::sync));
  fixture.append_stored(log, a, 100, 60000, FlushMode::none);
  fixture.await_durable(fixture.append_stored(log, a, 60100, 60000, FlushMode::sync));
  fixture.await_durable(fixture.append_stored(log, a, 120100, 60000, FlushMode::sync));
  CHECK(fixture.read().size() == 1);
  // Another kind of record parts runs; so the batches behind it are journalled.
  fixture.append(log, bytes_of("truncation"), FlushMode::sync, 3);
  fixture.await_durable(fixture.append_stored(log, a, 180100, 1000, FlushMode::sync));
  std::vector<uint16_t> types;
  for (const auto& group : fixture.read()) {
    for (const auto& record : group.records) types.push_back(record.header.type);
  }
  CHECK(types == std::vector<uint16_t>{1, 6, 3, 1});
  const auto counters = fixture.journal->counters();
  CHECK(counters.direct_flushes == 2);
  CHECK(counters.direct_bytes == 180000);
  CHECK(counters.pending_bytes == 0);
  const auto chain = fixture.read();
  CHECK(chain[1].records[0].header.position == 180100);
  CHECK(chain[1].records[0].payload.empty());
}

TEST_CASE("the mark of a direct flush is written by the journal's own clock, and at the latest when it is closed") {
  for (const bool by_clock : {true, false}) {
    Fixture fixture(8 << 20, 1 << 30, 1 << 20, 1000, by_clock ? 1 : 1 << 30);
    SegmentRef a;
    REQUIRE(!MappedSegment::create(fixture.directory.file("a.log"), 1 << 20, std::make_shared<SegmentGround>(fixture.health), a));
    const std::vector<uint8_t> bytes(20000, 9);
    uint64_t position = 0;
    REQUIRE(!a->append(bytes.data(), bytes.size(), position));
    const uint32_t log = fixture.journal->register_log({{1}, 0});
    fixture.await_durable(fixture.append_stored(log, a, 0, 100, FlushMode::sync));
    const auto before = fixture.journal->counters();
    fixture.await_durable(fixture.append_stored(log, a, 100, 10000, FlushMode::sync));
    if (by_clock) {
      while (fixture.journal->counters().syncs < before.syncs + 2) std::this_thread::yield();
    } else {
      fixture.journal->stop(true);
    }
    const auto chain = fixture.read();
    REQUIRE(chain.size() == 2);
    CHECK(chain[1].records[0].header.type == kDurableMarkRecordType);
  }
}

TEST_CASE("a direct flush comes after a sync of the groups that were written without one") {
  Fixture fixture(8 << 20, 1 << 30, 4 << 20, 50000);
  SegmentRef a;
  REQUIRE(!MappedSegment::create(fixture.directory.file("a.log"), 1 << 20, std::make_shared<SegmentGround>(fixture.health), a));
  const std::vector<uint8_t> bytes(100000, 9);
  uint64_t position = 0;
  REQUIRE(!a->append(bytes.data(), bytes.size(), position));
  const uint32_t log = fixture.journal->register_log({{1}, 0});
  const uint32_t other = fixture.journal->register_log({{2}, 0});
  fixture.await_durable(fixture.append_stored(log, a, 0, 100, FlushMode::sync));
  for (int i = 0; i < 20; i++) fixture.append(other, std::vector<uint8_t>(100000, 1), FlushMode::none);
  const auto before = fixture.journal->counters();
  fixture.await_durable(fixture.append_stored(log, a, 100, 60000, FlushMode::sync));
  const auto after = fixture.journal->counters();
  CHECK(after.direct_syncs - before.direct_syncs == 1);
  CHECK(after.syncs - before.syncs == 2);
  CHECK(after.pending_bytes == 0);
}

TEST_CASE("a group is no larger than its limit, unless one record is") {
  Fixture fixture(8 << 20, 1 << 30, 64 << 10);
  const uint32_t log = fixture.journal->register_log({});
  for (int i = 0; i < 50; i++) fixture.append(log, std::vector<uint8_t>(10000, 1), FlushMode::none);
  fixture.append(log, std::vector<uint8_t>(300000, 2), FlushMode::none);
  fixture.append(log, std::vector<uint8_t>(10, 3), FlushMode::none);
  fixture.await_durable(fixture.journal->request_flush());
  size_t records = 0;
  for (const auto& group : fixture.read()) {
    CHECK((group.header.content_bytes <= 64 << 10 || group.header.record_count == 1));
    records += group.records.size();
  }
  CHECK(records == 52);
}

TEST_CASE("a record larger than a whole file is written and read") {
  Fixture fixture(64 << 10);
  const uint32_t log = fixture.journal->register_log({});
  fixture.append(log, bytes_of("before"), FlushMode::sync);
  fixture.append(log, std::vector<uint8_t>(300000, 5), FlushMode::sync);
  fixture.await_durable(fixture.append(log, bytes_of("after"), FlushMode::sync));
  const auto chain = fixture.read();
  REQUIRE(chain.size() >= 2);
  CHECK(chain.back().records.back().payload == bytes_of("after"));
}

TEST_CASE("async records are synced by the journal's own clock") {
  Fixture fixture(8 << 20, 20);
  const uint32_t log = fixture.journal->register_log({});
  fixture.await_durable(fixture.append(log, bytes_of("a"), FlushMode::async));
  fixture.append(log, bytes_of("none"), FlushMode::none);
  fixture.await_durable(fixture.append(log, bytes_of("b"), FlushMode::async));
}

TEST_CASE("a flush or a stop that is asked for while the thread is still awake after a sync is not lost") {
  std::mt19937 random(7);
  for (int round = 0; round < 20; round++) {
    Fixture fixture(8 << 20);
    const uint32_t log = fixture.journal->register_log({});
    for (int i = 0; i < 50; i++) {
      const uint64_t ticket = fixture.append(log, bytes_of("sync"), FlushMode::sync);
      const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(random() % 300);
      while (std::chrono::steady_clock::now() < until) {
      }
      fixture.append(log, bytes_of("none"), FlushMode::none);
      fixture.await_durable(ticket);
      fixture.await_durable(fixture.journal->request_flush());
    }
    fixture.await_durable(fixture.append(log, bytes_of("last"), FlushMode::sync));
    fixture.journal->stop(round % 2 == 0);
    CHECK(fixture.journal->progress().stopped);
  }
}

TEST_CASE("records that ask for no sync are written when enough are pending, and covered by the next sync") {
  Fixture fixture(16 << 20);
  const uint32_t log = fixture.journal->register_log({});
  for (int i = 0; i < 300; i++) fixture.append(log, std::vector<uint8_t>(16000, 1), FlushMode::none);
  const uint64_t ticket = fixture.append(log, bytes_of("sync"), FlushMode::sync);
  fixture.await_durable(ticket);
  CHECK(fixture.journal->counters().syncs < 20);
  size_t records = 0;
  for (const auto& group : fixture.read()) records += group.records.size();
  CHECK(records == 301);
}

TEST_CASE("stopping with a drain makes everything durable; afterwards nothing is accepted") {
  Fixture fixture(8 << 20);
  const uint32_t log = fixture.journal->register_log({});
  uint64_t last = 0;
  for (int i = 0; i < 100; i++) last = fixture.append(log, bytes_of("x"), FlushMode::none);
  fixture.journal->stop(true);
  CHECK(fixture.journal->progress().durable_ticket == last);
  CHECK(fixture.journal->progress().stopped);
  PendingRecord record;
  uint64_t ticket = 0;
  const auto failure = fixture.journal->submit(std::move(record), ticket);
  REQUIRE(failure);
  CHECK(failure->code == FailureCode::closed);
}

// Right after a sync the thread looks for the next append without the mutex.
TEST_CASE("a stop or a flush that comes right after a sync is not missed") {
  for (int round = 0; round < 200; round++) {
    Fixture fixture;
    const uint32_t log = fixture.journal->register_log({});
    for (int i = 0; i < 4; i++) fixture.await_durable(fixture.append(log, bytes_of("x"), FlushMode::sync));
    const uint64_t relaxed = fixture.append(log, bytes_of("y"), FlushMode::none);
    fixture.journal->request_flush();
    fixture.await_durable(relaxed);
    fixture.journal->stop(true);
    CHECK(fixture.journal->progress().stopped);
  }
}

TEST_CASE("a failure elsewhere in the store ends all promises of the journal") {
  Fixture fixture(8 << 20);
  const uint32_t log = fixture.journal->register_log({});
  fixture.await_durable(fixture.append(log, bytes_of("x"), FlushMode::sync));
  fixture.append(log, bytes_of("none"), FlushMode::none);
  fixture.health->fail({FailureCode::disk_failed, "a segment's sync failed"});
  fixture.journal->request_flush();
  CHECK(fixture.await_failure().message == "a segment's sync failed");
  CHECK(fixture.journal->progress().durable_ticket == 1);
}

TEST_CASE("recycled files are used instead of new ones, and their old groups are no part of the chain") {
  Fixture fixture;
  const uint32_t log = fixture.journal->register_log({});
  uint64_t recycled = 0;
  for (int i = 0; i < 200; i++) {
    fixture.await_durable(fixture.append(log, std::vector<uint8_t>(6000, static_cast<uint8_t>(i)), FlushMode::sync));
    while (recycled + 2 < fixture.journal->current_file_number()) fixture.journal->recycle(++recycled);
  }
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(fixture.directory.path())) files += entry.is_regular_file();
  CHECK(files <= 6);
  CHECK(fixture.journal->current_file_number() > 12);
}

TEST_CASE("a flush that is asked for again and again does not put off the first one") {
  // Every record is a group of its own, and 14 of them fill a file.
  Fixture fixture(64 << 10, 1 << 30, 1);
  const uint32_t log = fixture.journal->register_log({});
  fixture.await_durable(fixture.append(log, bytes_of("first"), FlushMode::sync));
  std::promise<void> go_on;
  fixture.background.post([&] { go_on.get_future().wait(); });
  for (int i = 1; i < 13; i++) fixture.await_durable(fixture.append(log, bytes_of("sync"), FlushMode::sync));
  const uint64_t last_of_file = fixture.append(log, bytes_of("none"), FlushMode::none);
  const uint64_t flushed = fixture.append(log, bytes_of("none"), FlushMode::none);
  CHECK(fixture.journal->request_flush() == flushed);
  // Synced because the file is left. The thread has the next group in hand, and waits for the background to make a file.
  fixture.await_durable(last_of_file);
  const uint64_t later = fixture.append(log, bytes_of("none"), FlushMode::none);
  fixture.journal->request_flush();
  go_on.set_value();
  fixture.await_durable(later);
  fixture.journal->stop(true);
  const auto& reported = fixture.durable_tickets;
  CHECK(std::count(reported.begin(), reported.end(), flushed) > 0);
}
