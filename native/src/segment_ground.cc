#include "segment_ground.h"

#include <map>
#include <utility>
#include <vector>

#include "mapped_segment.h"

namespace varve {

void SegmentGround::mapped(MappedSegment& segment, const std::string& path) {
  const std::lock_guard lock(mutex_);
  const auto entry = by_path_.emplace(path, &segment);
  names_.emplace(&segment, &entry->first);
}

void SegmentGround::unmapped(MappedSegment& segment) {
  mapped_bytes_.fetch_sub(segment.allocated_bytes(), std::memory_order_relaxed);
  held_.fetch_sub(1, std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  const auto name = names_.find(&segment);
  if (name->second != nullptr) {
    auto [at, end] = by_path_.equal_range(*name->second);
    while (at->second != &segment) ++at;
    by_path_.erase(at);
  }
  names_.erase(name);
  removed_.erase(&segment);
}

void SegmentGround::file_renamed(const std::string& from, const std::string& to) {
  const std::lock_guard lock(mutex_);
  std::vector<MappedSegment*> moved;
  for (auto [at, end] = by_path_.equal_range(from); at != end; at = by_path_.erase(at)) moved.push_back(at->second);
  for (MappedSegment* segment : moved) {
    names_[segment] = &by_path_.emplace(to, segment)->first;
    segment->file_renamed(to);
  }
}

void SegmentGround::file_removed(const std::string& path) {
  const std::lock_guard lock(mutex_);
  for (auto [at, end] = by_path_.equal_range(path); at != end; at = by_path_.erase(at)) {
    names_[at->second] = nullptr;
    removed_.insert(at->second);
  }
}

SegmentStats SegmentGround::stats() const {
  SegmentStats stats;
  stats.open_files = files_.count();
  stats.mapped_bytes = mapped_bytes_.load(std::memory_order_relaxed);
  stats.held_mappings = held_.load(std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  stats.mapped_segments = names_.size();
  std::map<std::pair<dev_t, ino_t>, uint64_t> files;
  for (const MappedSegment* segment : removed_) files[segment->file_identity()] = segment->allocated_bytes();
  for (const auto& [identity, bytes] : files) stats.pinned_deleted_bytes += bytes;
  return stats;
}

}  // namespace varve
