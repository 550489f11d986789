// One segment file, mapped into a reservation of address space that never moves and never shrinks.
//
//   reservation   |--------- file pages, MAP_SHARED ---------|------------- zero pages, read-only -------------|
//                 0            size_            allocated_ ≤ mapped_                                    reserve_bytes
//
// The file grows by chunks (64 KiB doubling to 16 MiB): space is allocated first, so a full disk is ENOSPC here and never
// SIGBUS at a store, and then mapped over the reservation. What lies beyond is readable zeros instead of an inaccessible
// hole, because Node may copy the whole ArrayBuffer (structuredClone of a view does). Bytes below `size_` are never
// written again and the file is never shortened while mapped, so views stay what they were.
//
// Threads. One thread (JavaScript's) appends, reads `size` and closes. Any thread may grow, sync and hold references.
// The mapping goes when the last reference goes, the file descriptor when the last user of the file goes.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "failure.h"
#include "health.h"
#include "posix_file.h"

namespace varve {

class MappedSegment;

// A counted reference to a segment's mapping.
class SegmentRef {
 public:
  SegmentRef() = default;
  explicit SegmentRef(MappedSegment* segment);
  SegmentRef(SegmentRef&& other) noexcept : segment_(std::exchange(other.segment_, nullptr)) {}
  SegmentRef& operator=(SegmentRef&& other) noexcept {
    std::swap(segment_, other.segment_);
    return *this;
  }
  SegmentRef(const SegmentRef& other) : SegmentRef(other.segment_) {}
  SegmentRef& operator=(const SegmentRef&) = delete;
  ~SegmentRef();

  MappedSegment* get() const { return segment_; }
  MappedSegment* operator->() const { return segment_; }
  explicit operator bool() const { return segment_ != nullptr; }

 private:
  MappedSegment* segment_ = nullptr;
};

class MappedSegment {
 public:
  static constexpr uint64_t kMinChunkBytes = uint64_t{64} << 10;
  static constexpr uint64_t kMaxChunkBytes = uint64_t{16} << 20;
  static constexpr uint64_t kMaxReserveBytes = uint64_t{1} << 40;

  // The file must not exist.
  static std::optional<Failure> create(std::string path, uint64_t reserve_bytes, std::shared_ptr<Health> health,
                                       SegmentRef& out);
  // Trims the file to `size` before it is mapped.
  static std::optional<Failure> open_writable(std::string path, uint64_t reserve_bytes, uint64_t size,
                                              std::shared_ptr<Health> health, SegmentRef& out);
  // Maps the file as long as it is.
  static std::optional<Failure> open_read_only(std::string path, std::shared_ptr<Health> health, SegmentRef& out);

  MappedSegment(const MappedSegment&) = delete;
  MappedSegment& operator=(const MappedSegment&) = delete;

  const std::string& path() const { return path_; }
  uint8_t* base() const { return base_; }
  uint64_t size() const { return size_; }
  uint64_t reserve_bytes() const { return reserve_bytes_; }
  uint64_t allocated_bytes() const { return allocated_.load(std::memory_order_acquire); }
  bool poisoned() const;
  bool closed() const { return closed_; }

  std::optional<Failure> append(const uint8_t* source, size_t length, uint64_t& position);

  // Asks for `bytes` beyond what is stored. True when a job that calls `prepare` should be posted.
  bool request_prepare(uint64_t bytes);
  // Background: allocates, maps and touches up to what was asked for, starting to touch at `from`. Failures don't
  // matter here: append meets them again.
  void prepare(uint64_t from);

  // Makes [position, position + length) resident and mapped, so that a read of it does not wait for the disk. Any thread.
  // `stop` is asked between the pieces. A page that cannot be read poisons the segment.
  void touch(uint64_t position, uint64_t length, const std::function<bool()>& stop);

  // fdatasync, paced: what was stored since the last sync is written back 1 MiB at a time first, because one large sync
  // would make every other sync on the device wait.
  // `pause(time)` is called between the pieces with what the last one took.
  std::optional<Failure> sync(uint64_t stored_bytes, const std::function<void(std::chrono::nanoseconds)>& pause);

  // Keep the file open across a background job, even if the engine closes the segment meanwhile. False once closed.
  bool enter_file();
  void leave_file();
  // Drops the engine's use of the file. The mapping stays while references do.
  void close();

 private:
  friend class SegmentRef;

  MappedSegment(std::string path, std::shared_ptr<Health> health);
  ~MappedSegment();

  std::optional<Failure> reserve(uint64_t reserve_bytes, bool writable);
  std::optional<Failure> map_existing(uint64_t size, int protection);
  std::optional<Failure> grow(uint64_t required);

  std::atomic<uint32_t> references_{0};
  std::atomic<uint32_t> file_users_{1};
  const std::string path_;
  const std::shared_ptr<Health> health_;
  FileDescriptor file_;
  uint8_t* base_ = nullptr;
  uint64_t reserved_ = 0;  // whole pages
  uint64_t reserve_bytes_ = 0;
  bool writable_ = false;
  bool closed_ = false;
  int guard_slot_ = -1;
  uint64_t size_ = 0;

  std::mutex grow_mutex_;
  std::atomic<uint64_t> allocated_{0};  // stores below it hit allocated, mapped pages
  uint64_t mapped_ = 0;                 // allocated_ rounded up to pages; under grow_mutex_
  uint64_t next_chunk_ = kMinChunkBytes;
  uint64_t synced_ = 0;                 // syncing thread only
  std::atomic<uint64_t> prepare_target_{0};
  std::atomic<bool> prepare_posted_{false};
};

}  // namespace varve
