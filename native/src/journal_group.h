// Gathers pending records into one journal group: joins what belongs together, encodes headers and checksums, and hands
// out the pieces for one gathered write. Large payloads stay where they are (in the segments' mappings); small ones are
// copied beside the headers, so that the number of pieces stays small.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

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

  // Encodes the group. The pieces stay valid until `clear`; the caller may alter them.
  std::optional<Failure> seal(const GroupPlace& place);
  // Set once a page of a segment that the group takes bytes from could not be read: zeros may stand in for it. Sealing asks;
  // ask again when the pieces were written, since only then were all of them read.
  std::optional<Failure> unreadable() const;
  std::span<iovec> pieces() { return pieces_; }
  uint32_t checksum() const { return checksum_; }

  void clear();

 private:
  struct Member {
    PendingRecord record;
    LogIdentity identity;
    bool copied = false;
  };
  // The group's last stored record of a log.
  struct Tail {
    uint64_t group = 0;
    size_t index = 0;
  };

  Member* joinable(const PendingRecord& record);
  size_t choose_copied();
  void append_piece(const uint8_t* data, size_t length);

  const Identity directory_id_;
  const uint64_t max_bytes_;
  uint64_t content_bytes_ = sizeof(JournalGroupHeader);
  std::vector<Member> records_;
  std::vector<Tail> tails_;  // by log
  uint64_t group_ = 1;
  size_t barrier_ = 0;  // records before it take nothing more
  std::vector<uint8_t> staging_;
  std::vector<iovec> pieces_;
  uint32_t checksum_ = 0;
};

}  // namespace varve
