// What the segments of one store stand on: the store's health, their open descriptors, and who of them is still mapped.
//
// A mapping outlives the engine's use of its segment while views of it are held, and even its file; the ground is told when
// a file is renamed or removed, so that it can say what that costs.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "health.h"
#include "open_files.h"

namespace varve {

class MappedSegment;

struct SegmentStats {
  uint64_t mapped_segments = 0;  // those that only views hold included
  uint64_t mapped_bytes = 0;     // of their files
  uint64_t open_files = 0;
  uint64_t held_mappings = 0;         // the engine is done with them, views are not
  uint64_t pinned_deleted_bytes = 0;  // of removed files that are still mapped
};

class SegmentGround {
 public:
  static constexpr size_t kDefaultMaxOpenFiles = 1024;

  explicit SegmentGround(std::shared_ptr<Health> health, size_t max_open_files = kDefaultMaxOpenFiles)
      : health_(std::move(health)), files_(max_open_files, health_->trace()) {}

  Health& health() { return *health_; }
  OpenFiles& files() { return files_; }

  // Any thread.
  void mapped(MappedSegment& segment, const std::string& path);
  void grown(uint64_t bytes) { mapped_bytes_.fetch_add(bytes, std::memory_order_relaxed); }
  void left_by_engine() { held_.fetch_add(1, std::memory_order_relaxed); }
  void unmapped(MappedSegment& segment);

  // The names of files that may be mapped.
  void file_renamed(const std::string& from, const std::string& to);
  void file_removed(const std::string& path);

  SegmentStats stats() const;

 private:
  // A file can be mapped twice: one mapping is held by views, and it was opened again since.
  using ByPath = std::unordered_multimap<std::string, MappedSegment*>;

  const std::shared_ptr<Health> health_;
  OpenFiles files_;
  std::atomic<uint64_t> mapped_bytes_{0};
  std::atomic<uint64_t> held_{0};

  mutable std::mutex mutex_;
  ByPath by_path_;
  std::unordered_map<MappedSegment*, const std::string*> names_;  // keys of by_path_; null once the file is removed
  std::unordered_set<MappedSegment*> removed_;
};

}  // namespace varve
