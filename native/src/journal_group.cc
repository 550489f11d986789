#include "journal_group.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "crc32c.h"

namespace varve {
namespace {

// Copied and hashed in pieces of this size, so that hashing finds them in the nearest cache.
constexpr uint64_t kPieceBytes = 16 << 10;
// Payloads of many partitions lie in as many mappings, far from each other: that many of them are on their way at once.
constexpr size_t kPrefetchAhead = 8;
constexpr size_t kCacheLineBytes = 64;
constexpr size_t kPrefetchBytes = 4 * kCacheLineBytes;

const uint8_t* payload_of(const PendingRecord& record) {
  return record.segment ? record.segment->base() + record.position : record.payload.get();
}

void prefetch(const PendingRecord& record) {
  const uint8_t* const payload = payload_of(record);
  const uint64_t bytes = std::min<uint64_t>(record.length, kPrefetchBytes);
  for (uint64_t at = 0; at < bytes; at += kCacheLineBytes) __builtin_prefetch(payload + at);
}

uint32_t copy(const uint8_t* from, uint64_t length, uint8_t* to, uint32_t checksum) {
  while (length > 0) {
    const uint64_t piece = std::min(length, kPieceBytes);
    std::memcpy(to, from, piece);
    checksum = crc32c(to, piece, checksum);
    from += piece;
    to += piece;
    length -= piece;
  }
  return checksum;
}

// Writes a record's header, and its payload behind it.
JournalRecordHeader stage(const PendingRecord& record, const LogIdentity& identity, uint8_t* to) {
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
  header.crc = copy(payload_of(record), record.length, to + sizeof header, header.crc);
  std::memcpy(to, &header, sizeof header);
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

std::optional<Failure> JournalGroup::seal(const GroupPlace& place) {
  staged_bytes_ = (place.with_file_header ? kJournalBlockBytes : 0) + padded_bytes();
  uint8_t* next = staging_.reserve(staged_bytes_);
  uint8_t* const end = next + staged_bytes_;

  if (place.with_file_header) {
    JournalFileHeader header;
    header.file_number = place.file_number;
    header.start_lsn = place.lsn;
    header.directory_id = directory_id_;
    header.previous_checksum = place.previous_checksum;
    encode_file_header(header, next);
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
  uint32_t checksum = crc32c(&group, offsetof(JournalGroupHeader, checksum),
                             group_seed(directory_id_, place.file_number, place.lsn));

  for (size_t i = 0; i < records_.size(); i++) {
    if (i + kPrefetchAhead < records_.size()) prefetch(records_[i + kPrefetchAhead].record);
    const Member& member = records_[i];
    const JournalRecordHeader header = stage(member.record, member.identity, next);
    checksum = crc32c(&header, sizeof header, checksum);
    next += sizeof header + member.record.length;
  }
  group.checksum = checksum;
  std::memcpy(group_at, &group, sizeof group);
  std::memset(next, 0, static_cast<size_t>(end - next));
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
  content_bytes_ = sizeof(JournalGroupHeader);
  barrier_ = 0;
  group_++;
}

}  // namespace varve
