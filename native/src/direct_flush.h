// Direct flush: a large run of batches that belong to few segments is not copied into the journal; the segments are
// synced instead. This is the part that decides which records those are, and that keeps the durable marks which say so.
// The journal does the syncs (docs/STORE.md has the rules and what each is for).
//
// A run is a row of stored records, in the order they were submitted, of at most two segments. Two kinds of record end a
// run, besides a third segment:
//  - any record that is no stored batch: order is one stream, so it is durable before what follows it;
//  - the first batch of a leader epoch, and the first one of a log since the opening or since another kind of record of
//    that log: replay learns from the journalled copy where an epoch starts, and a mark could not say it.
//
// Journal thread only.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "journal_group.h"

namespace varve {

class DirectFlush {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr size_t kMaxSegments = 2;

  // `min_bytes` 0: no run is ever direct.
  explicit DirectFlush(uint64_t min_bytes) : min_bytes_(min_bytes) {}

  // records[from, end) go one way.
  struct Run {
    size_t end = 0;
    bool direct = false;
  };
  // The run that begins at `from`, of which everything before was passed to `note`. It is direct if it is large enough and
  // somebody waits for a sync of it: it holds a `sync` record, or begins at or below the ticket `wanted`.
  Run next_run(std::span<const PendingRecord> records, size_t from, uint64_t wanted) const;

  // To be told of every record, in order, whichever way it goes.
  void note(const PendingRecord& record);
  // To be told of each record of a direct run once its segment has been synced.
  void add_mark(const PendingRecord& record, Clock::time_point now);

  // Marks that no written group holds, in the order in which replay wants them, as records.
  std::vector<PendingRecord> marks() const;
  // What `marks` returned was written.
  void marks_written() { marks_.clear(); }
  // All written marks are durable.
  void marks_durable() {
    if (marks_.empty()) since_.reset();
  }
  // When the oldest mark that is not durable was made.
  std::optional<Clock::time_point> oldest_mark() const { return since_; }

 private:
  struct Mark {
    uint32_t log;
    int32_t epoch;
    uint64_t generation;
    uint64_t segment_base_offset;
    uint64_t position;  // behind the last durable byte
    int64_t last_offset;
    int64_t hw_floor;
  };
  // What the log's last record said, if that was a stored one.
  struct Known {
    bool is_known = false;
    int32_t epoch = 0;
    uint64_t generation = 0;
  };

  bool continues_epoch(const PendingRecord& record) const;

  const uint64_t min_bytes_;
  std::vector<Known> known_;  // by log
  std::vector<Mark> marks_;
  std::optional<Clock::time_point> since_;
};

}  // namespace varve
