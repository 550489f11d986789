#include "direct_flush.h"

#include <doctest/doctest.h>

#include "temporary_directory.h"

using namespace varve;

namespace {

constexpr uint64_t kMinBytes = 1000;
constexpr uint64_t kNobodyWaits = 0;

// A stream of records over three segments, of which log n uses segment n.
class Stream {
 public:
  Stream() {
    for (size_t i = 0; i < 3; i++) {
      REQUIRE(!MappedSegment::create(directory_.file(std::to_string(i) + ".log"), 1 << 20, ground_, segments[i]));
    }
  }

  Stream& batches(uint32_t log, uint64_t length, FlushMode mode = FlushMode::sync, int32_t epoch = 1,
                  uint64_t generation = 0) {
    return batches_in(log, log, length, mode, epoch, generation);
  }

  Stream& batches_in(size_t segment, uint32_t log, uint64_t length, FlushMode mode = FlushMode::sync, int32_t epoch = 1,
                     uint64_t generation = 0) {
    PendingRecord record;
    record.log = log;
    record.mode = mode;
    record.epoch = epoch;
    record.generation = generation;
    record.segment_base_offset = 100 * segment;
    record.position = positions_[segment];
    record.length = length;
    record.last_offset = static_cast<int64_t>(positions_[segment] + length);
    record.segment = SegmentRef(segments[segment]);
    positions_[segment] += length;
    return add(std::move(record));
  }

  Stream& control(uint32_t log) {
    PendingRecord record;
    record.log = log;
    record.type = 3;
    return add(std::move(record));
  }

  std::vector<PendingRecord> records;
  std::array<SegmentRef, 3> segments;

 private:
  Stream& add(PendingRecord&& record) {
    record.ticket = records.size() + 1;
    records.push_back(std::move(record));
    return *this;
  }

  TemporaryDirectory directory_;
  std::shared_ptr<SegmentGround> ground_ = std::make_shared<SegmentGround>(std::make_shared<Health>());
  std::array<uint64_t, 3> positions_{};
};

struct Part {
  size_t count;
  bool direct;
  bool operator==(const Part&) const = default;
};

// The whole stream, cut into runs.
std::vector<Part> parts_of(const Stream& stream, uint64_t wanted = kNobodyWaits, uint64_t min_bytes = kMinBytes) {
  DirectFlush direct(min_bytes);
  std::vector<Part> parts;
  for (size_t at = 0; at < stream.records.size();) {
    const auto run = direct.next_run(stream.records, at, wanted);
    REQUIRE(run.end > at);
    parts.push_back({run.end - at, run.direct});
    for (; at < run.end; at++) direct.note(stream.records[at]);
  }
  return parts;
}

using Parts = std::vector<Part>;

}  // namespace

TEST_CASE("the first batches of a log are journalled, what follows is flushed directly once it is large enough") {
  Stream stream;
  stream.batches(0, 5000).batches(0, 400).batches(0, 600);
  CHECK(parts_of(stream) == Parts{{1, false}, {2, true}});
  CHECK(parts_of(stream, kNobodyWaits, 1001) == Parts{{1, false}, {2, false}});
}

TEST_CASE("with a threshold of zero everything is journalled, in one go") {
  Stream stream;
  stream.batches(0, 5000).batches(0, 5000).control(0).batches(0, 5000);
  CHECK(parts_of(stream, kNobodyWaits, 0) == Parts{{4, false}});
}

TEST_CASE("a run holds batches of at most two segments") {
  Stream stream;
  stream.batches(0, 1).batches(1, 1).batches(2, 1);
  stream.batches(0, 600).batches(1, 600).batches(0, 600).batches(2, 900).batches(2, 50);
  CHECK(parts_of(stream) == Parts{{1, false}, {1, false}, {1, false}, {3, true}, {2, false}});
}

TEST_CASE("one log may use both segments, when it is rolled within a run") {
  Stream stream;
  stream.batches_in(0, 0, 1).batches_in(0, 0, 900).batches_in(1, 0, 900);
  CHECK(parts_of(stream) == Parts{{1, false}, {2, true}});
}

TEST_CASE("records of other kinds part runs, and the log's next batches are journalled") {
  Stream stream;
  stream.batches(0, 1).batches(1, 1);
  stream.batches(0, 2000).control(0).batches(0, 3000).batches(0, 4000).batches(1, 5000);
  CHECK(parts_of(stream) == Parts{{1, false}, {1, false}, {1, true}, {1, false}, {1, false}, {2, true}});
}

TEST_CASE("the first batch of an epoch or of a generation is journalled") {
  Stream stream;
  stream.batches(0, 1).batches(0, 2000).batches(0, 2000, FlushMode::sync, 2).batches(0, 2000, FlushMode::sync, 2);
  stream.batches(0, 2000, FlushMode::sync, 2, 1).batches(0, 2000, FlushMode::sync, 2, 1);
  CHECK(parts_of(stream) == Parts{{1, false}, {1, true}, {1, false}, {1, true}, {1, false}, {1, true}});
}

TEST_CASE("relaxed batches are flushed directly only if somebody waits for a sync of them") {
  Stream stream;
  stream.batches(0, 1).batches(0, 2000, FlushMode::async).batches(0, 2000, FlushMode::none);
  CHECK(parts_of(stream) == Parts{{1, false}, {2, false}});
  CHECK(parts_of(stream, 3) == Parts{{1, false}, {2, true}});
  stream.batches(0, 10);
  CHECK(parts_of(stream) == Parts{{1, false}, {3, true}});
}

TEST_CASE("marks say how far each segment was synced, the last word of each, in the order of the segments") {
  Stream stream;
  stream.batches_in(0, 0, 100).batches_in(0, 0, 50).batches(2, 70).batches_in(1, 0, 30).batches_in(1, 0, 40);
  DirectFlush direct(1);
  const auto now = DirectFlush::Clock::now();
  CHECK(!direct.oldest_mark());
  for (const PendingRecord& record : stream.records) direct.add_mark(record, now);
  CHECK(direct.oldest_mark() == now);
  const auto marks = direct.marks();
  REQUIRE(marks.size() == 3);
  CHECK(marks[0].segment_base_offset == 0);
  CHECK(marks[0].position == 150);
  CHECK(marks[0].last_offset == 150);
  CHECK(marks[1].log == 2);
  CHECK(marks[2].segment_base_offset == 100);
  CHECK(marks[2].position == 70);
  for (const PendingRecord& mark : marks) {
    CHECK(mark.type == kDurableMarkRecordType);
    CHECK(mark.length == 0);
  }

  direct.marks_durable();
  CHECK(direct.oldest_mark());  // durable is only what was written
  direct.marks_written();
  CHECK(direct.marks().empty());
  CHECK(direct.oldest_mark());
  direct.marks_durable();
  CHECK(!direct.oldest_mark());
}
