#include "journal_group.h"

#include <limits.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "crc32c.h"

namespace varve {
namespace {

// A piece of a gathered write costs about as much as copying this much.
constexpr uint64_t kCopyBelowBytes = 4096;
// A few pieces more than one gathered write takes: then as many payloads of up to this size are copied.
constexpr uint64_t kCopyToFitBytes = 64 << 10;
constexpr size_t kCopyToFit = 64;

constexpr uint8_t kPadding[kJournalBlockBytes] = {};

const uint8_t* payload_of(const PendingRecord& record) {
  return record.segment ? record.segment->base() + record.position : record.payload.get();
}

JournalRecordHeader header_of(const PendingRecord& record, const LogIdentity& identity) {
  JournalRecordHeader header;
  header.length = static_cast<uint32_t>(sizeof header + record.length);
  header.type = record.type;
  header.partition = identity.partition;
  header.topic_id = identity.topic_id;
  header.segment_base_offset = record.segment_base_offset;
  header.position = record.position;
  header.last_offset = record.last_offset;
  header.hw_floor = record.hw_floor;
  header.generation = record.generation;
  header.epoch = record.epoch;
  constexpr size_t kAfterCrc = sizeof header.crc;
  header.crc = crc32c(reinterpret_cast<const uint8_t*>(&header) + kAfterCrc, sizeof header - kAfterCrc);
  header.crc = crc32c(payload_of(record), record.length, header.crc);
  return header;
}

}  // namespace

Failure unreadable_page(const MappedSegment& segment) {
  return {FailureCode::disk_failed, "a page of " + segment.path() + " could not be read (SIGBUS)"};
}

JournalGroup::JournalGroup(const Identity& directory_id, uint64_t max_bytes)
    : directory_id_(directory_id), max_bytes_(max_bytes) {}

bool JournalGroup::accepts(const PendingRecord& record) const {
  return empty() || content_bytes_ + sizeof(JournalRecordHeader) + record.length <= max_bytes_;
}

JournalGroup::Member* JournalGroup::joinable(const PendingRecord& record) {
  if (record.type != kStoredRecordType || record.log >= tails_.size()) return nullptr;
  const Tail tail = tails_[record.log];
  if (tail.group != group_ || tail.index < barrier_) return nullptr;
  PendingRecord& before = records_[tail.index].record;
  const bool continues = before.segment.get() == record.segment.get() &&
                         before.segment_base_offset == record.segment_base_offset && before.epoch == record.epoch &&
                         before.generation == record.generation && before.position + before.length == record.position;
  return continues ? &records_[tail.index] : nullptr;
}

void JournalGroup::add(PendingRecord&& record, const LogIdentity& identity) {
  content_bytes_ += record.length;
  if (Member* before = joinable(record); before != nullptr) {
    before->record.length += record.length;
    before->record.last_offset = record.last_offset;
    before->record.hw_floor = std::max(before->record.hw_floor, record.hw_floor);
    return;
  }
  content_bytes_ += sizeof(JournalRecordHeader);
  if (record.type == kStoredRecordType) {
    if (record.log >= tails_.size()) tails_.resize(record.log + 1);
    tails_[record.log] = {group_, records_.size()};
  } else {
    barrier_ = records_.size() + 1;
  }
  records_.push_back({std::move(record), identity});
}

void JournalGroup::append_piece(const uint8_t* data, size_t length) {
  if (length == 0) return;
  if (!pieces_.empty()) {
    iovec& last = pieces_.back();
    if (static_cast<const uint8_t*>(last.iov_base) + last.iov_len == data) {
      last.iov_len += length;
      return;
    }
  }
  pieces_.push_back({const_cast<uint8_t*>(data), length});
}

// Returns the bytes that are to be staged: headers, and the payloads that are copied.
size_t JournalGroup::choose_copied() {
  size_t staged = kJournalBlockBytes + sizeof(JournalGroupHeader) + records_.size() * sizeof(JournalRecordHeader);
  // What is staged between two payloads is one piece; the padding is another.
  size_t pieces = 2;
  for (Member& member : records_) {
    member.copied = member.record.length < kCopyBelowBytes;
    if (member.copied) {
      staged += member.record.length;
    } else {
      pieces += 2;
    }
  }
  if (pieces > IOV_MAX && pieces <= IOV_MAX + 2 * kCopyToFit) {
    for (auto member = records_.rbegin(); member != records_.rend() && pieces > IOV_MAX; ++member) {
      if (member->copied || member->record.length > kCopyToFitBytes) continue;
      member->copied = true;
      staged += member->record.length;
      pieces -= 2;
    }
  }
  return staged;
}

std::optional<Failure> JournalGroup::seal(const GroupPlace& place) {
  const size_t staged = choose_copied();
  if (staging_.size() < staged) staging_.resize(staged);
  pieces_.clear();
  uint8_t* next = staging_.data();

  if (place.with_file_header) {
    JournalFileHeader header;
    header.file_number = place.file_number;
    header.start_lsn = place.lsn;
    header.directory_id = directory_id_;
    header.previous_checksum = place.previous_checksum;
    encode_file_header(header, next);
    append_piece(next, kJournalBlockBytes);
    next += kJournalBlockBytes;
  }

  JournalGroupHeader group;
  group.lsn = place.lsn;
  group.file_number = place.file_number;
  group.durable_lsn = place.durable_lsn;
  group.content_bytes = static_cast<uint32_t>(content_bytes_);
  group.record_count = static_cast<uint32_t>(records_.size());
  group.previous_checksum = place.previous_checksum;
  uint8_t* const group_at = next;
  next += sizeof group;
  append_piece(group_at, sizeof group);
  uint32_t checksum = crc32c(&group, offsetof(JournalGroupHeader, checksum),
                             group_seed(directory_id_, place.file_number, place.lsn));

  for (const Member& member : records_) {
    const JournalRecordHeader header = header_of(member.record, member.identity);
    checksum = crc32c(&header, sizeof header, checksum);
    std::memcpy(next, &header, sizeof header);
    append_piece(next, sizeof header);
    next += sizeof header;
    const uint8_t* payload = payload_of(member.record);
    if (member.copied) {
      if (member.record.length > 0) std::memcpy(next, payload, member.record.length);
      append_piece(next, member.record.length);
      next += member.record.length;
    } else {
      append_piece(payload, member.record.length);
    }
  }
  group.checksum = checksum;
  std::memcpy(group_at, &group, sizeof group);
  append_piece(kPadding, padded_bytes() - content_bytes_);
  checksum_ = checksum;
  return unreadable();
}

std::optional<Failure> JournalGroup::unreadable() const {
  for (const Member& member : records_) {
    const MappedSegment* const segment = member.record.segment.get();
    if (segment != nullptr && segment->poisoned()) return unreadable_page(*segment);
  }
  return std::nullopt;
}

void JournalGroup::clear() {
  records_.clear();
  pieces_.clear();
  content_bytes_ = sizeof(JournalGroupHeader);
  barrier_ = 0;
  group_++;
}

}  // namespace varve
