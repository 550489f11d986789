#include "direct_flush.h"

#include <algorithm>
#include <array>

namespace varve {

bool DirectFlush::continues_epoch(const PendingRecord& record) const {
  if (record.type != kStoredRecordType || !record.segment || record.log >= known_.size()) return false;
  const Known& known = known_[record.log];
  return known.is_known && known.epoch == record.epoch && known.generation == record.generation;
}

DirectFlush::Run DirectFlush::next_run(std::span<const PendingRecord> records, size_t from, uint64_t wanted) const {
  if (min_bytes_ == 0) return {records.size(), false};
  std::array<const MappedSegment*, kMaxSegments> segments{};
  size_t segment_count = 0;
  uint64_t bytes = 0;
  bool is_wanted = from < records.size() && records[from].ticket <= wanted;
  size_t end = from;
  for (; end < records.size(); end++) {
    const PendingRecord& record = records[end];
    if (!continues_epoch(record)) break;
    const auto seen = segments.begin() + static_cast<ptrdiff_t>(segment_count);
    if (std::find(segments.begin(), seen, record.segment.get()) == seen) {
      if (segment_count == kMaxSegments) break;
      segments[segment_count++] = record.segment.get();
    }
    bytes += record.length;
    is_wanted |= record.mode == FlushMode::sync;
  }
  // The record that cannot be in any run goes by itself.
  if (end == from) return {from + 1, false};
  return {end, is_wanted && bytes >= min_bytes_};
}

void DirectFlush::note(const PendingRecord& record) {
  if (min_bytes_ == 0) return;
  if (record.log >= known_.size()) known_.resize(record.log + 1);
  known_[record.log] = {record.type == kStoredRecordType, record.epoch, record.generation};
}

// A later mark of a segment says what an earlier one of it said, and more. Those of different segments keep their order.
void DirectFlush::add_mark(const PendingRecord& record, Clock::time_point now) {
  if (!since_) since_ = now;
  const uint64_t end = record.position + record.length;
  for (Mark& mark : marks_) {
    if (mark.log != record.log || mark.segment_base_offset != record.segment_base_offset ||
        mark.generation != record.generation || mark.epoch != record.epoch) {
      continue;
    }
    mark.position = end;
    mark.last_offset = record.last_offset;
    mark.hw_floor = std::max(mark.hw_floor, record.hw_floor);
    return;
  }
  marks_.push_back({record.log, record.epoch, record.generation, record.segment_base_offset, end, record.last_offset,
                    record.hw_floor});
}

std::vector<PendingRecord> DirectFlush::marks() const {
  std::vector<PendingRecord> records;
  records.reserve(marks_.size());
  for (const Mark& mark : marks_) {
    PendingRecord record;
    record.log = mark.log;
    record.type = kDurableMarkRecordType;
    record.epoch = mark.epoch;
    record.generation = mark.generation;
    record.segment_base_offset = mark.segment_base_offset;
    record.position = mark.position;
    record.last_offset = mark.last_offset;
    record.hw_floor = mark.hw_floor;
    records.push_back(std::move(record));
  }
  return records;
}

}  // namespace varve
