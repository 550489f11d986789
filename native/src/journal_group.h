// Gathers pending records into one journal group: joins what belongs together, copies headers and payloads behind each
// other and makes the checksums on the way, and hands out whole blocks for one write past the page cache. The checksums are
// of the copy: of what is written.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "aligned_buffer.h"
#include "failure.h"
#include "journal_format.h"
#include "mapped_segment.h"

namespace varve {

enum class FlushMode : uint8_t { sync, async, none };

struct LogIdentity {
  Identity topic_id{};
  uint32_t partition = 0;
};

struct PendingRecord {
  uint32_t log = 0;
  uint16_t type = kStoredRecordType;
  FlushMode mode = FlushMode::sync;
  int32_t epoch = 0;
  uint64_t generation = 0;
  uint64_t segment_base_offset = 0;
  uint64_t position = 0;
  uint64_t length = 0;
  int64_t last_offset = 0;
  int64_t hw_floor = 0;
  uint64_t ticket = 0;
  SegmentRef segment;                  // stored records: the bytes are in its mapping
  std::unique_ptr<uint8_t[]> payload;  // all others, except durable marks, which have none
};

Failure unreadable_page(const MappedSegment& segment);

// Where the group goes.
struct GroupPlace {
  uint64_t file_number;
  uint64_t lsn;
  uint64_t durable_lsn;
  uint32_t previous_checksum;
  // The first group of a file brings the file's header along.
  bool with_file_header;
};

class JournalGroup {
 public:
  JournalGroup(const Identity& directory_id, uint64_t max_bytes);

  bool empty() const { return records_.empty(); }
  size_t record_count() const { return records_.size(); }
  // Length in the file, without a file header.
  uint64_t padded_bytes() const { return padded_to_block(content_bytes_); }

  // False when the group is full (never when it is empty).
  bool accepts(const PendingRecord& record) const;
  // Stored records that continue, in the same segment, epoch and generation, what the group already holds of their log
  // become part of it, unless another kind of record came between: replay then meets fewer, larger records.
  void add(PendingRecord&& record, const LogIdentity& identity);

  // Encodes the group. Fails when a page of a segment that it takes bytes from could not be read: zeros may stand in for it.
  std::optional<Failure> seal(const GroupPlace& place);
  // Whole blocks, at an address fit for O_DIRECT; valid until the next `seal`.
  std::span<uint8_t> bytes() { return {staging_.data(), staged_bytes_}; }
  uint32_t checksum() const { return checksum_; }

  void clear();

 private:
  struct Member {
    PendingRecord record;
    LogIdentity identity;
  };
  // The group's last stored record of a log.
  struct Tail {
    uint64_t group = 0;
    size_t index = 0;
  };

  Member* joinable(const PendingRecord& record);
  std::optional<Failure> unreadable() const;

  const Identity directory_id_;
  const uint64_t max_bytes_;
  uint64_t content_bytes_ = sizeof(JournalGroupHeader);
  std::vector<Member> records_;
  std::vector<Tail> tails_;  // by log
  uint64_t group_ = 1;
  size_t barrier_ = 0;  // records before it take nothing more
  AlignedBuffer staging_;
  size_t staged_bytes_ = 0;
  uint32_t checksum_ = 0;
};

}  // namespace varve
