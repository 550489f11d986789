// One segment file, mapped twice into reservations of address space that never move and never shrink: once for the engine,
// which writes through it, and once, read-only, for JavaScript, made when somebody first reads.
//
//   engine        |------------- MAP_SHARED, writable; nobody touches what lies beyond allocated_ ---------------|
//   JavaScript    |------- MAP_SHARED, read-only -----------|-------- zero pages, read-only ---------------------|
//                 0            size_             allocated_                                         reserve_bytes
//
// The file grows by chunks (64 KiB doubling to 16 MiB): space is allocated before anything is stored there, so a full disk
// is ENOSPC here and never SIGBUS at a store. Beyond the file JavaScript finds readable zeros instead of an inaccessible
// hole, because Node may copy the whole ArrayBuffer (structuredClone of a view does). A write through a view kills the
// process: a log that may have been scribbled on is worse than none. Bytes below `size_` are never written again and the
// file is never shortened while mapped, so views stay what they were.
//
// What it costs the kernel: one area of address space for a segment that is written, two more once it is read (vm.max_map_count
// limits their number, 65530 by default); no descriptor (open_files.h); pages as they are used.
//
// Threads. One thread (JavaScript's) appends, reads `size`, makes the view and closes. Any thread may grow, sync and hold
// references. The engine's mapping and the descriptor go when the last SegmentRef goes, JavaScript's with the last ViewRef.
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
#include "open_files.h"
#include "segment_ground.h"

namespace varve {

class MappedSegment;

// The engine's use of a segment, counted: everything works while there is one.
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

// Keeps what views look at.
class ViewRef {
 public:
  explicit ViewRef(const SegmentRef& segment);
  ViewRef(const ViewRef&) = delete;
  ViewRef& operator=(const ViewRef&) = delete;
  ~ViewRef();
  const MappedSegment* operator->() const { return segment_; }

 private:
  MappedSegment* const segment_;
};

// How appends reach the page cache: stored through the mapping, or written by a system call. The same bytes for whoever
// reads, syncs or crashes.
enum class SegmentWriter : uint32_t { mapped, pwrite };

class MappedSegment {
 public:
  static constexpr uint64_t kMinChunkBytes = uint64_t{64} << 10;
  static constexpr uint64_t kMaxChunkBytes = uint64_t{16} << 20;
  static constexpr uint64_t kMaxReserveBytes = uint64_t{1} << 40;

  // Set once a page could not be read or written; outlives the segment.
  using Mark = std::shared_ptr<std::atomic<bool>>;

  // The file must not exist, and does not when this fails.
  static std::optional<Failure> create(std::string path, uint64_t reserve_bytes, std::shared_ptr<SegmentGround> ground,
                                       SegmentRef& out, SegmentWriter writer = SegmentWriter::mapped);
  // What a file has beyond the size that it is opened with.
  enum class Tail {
    cut,   // it goes, before the file is mapped
    keep,  // it stays, since somebody may hold a mapping of it: appends overwrite it
  };

  static std::optional<Failure> open_writable(std::string path, uint64_t reserve_bytes, uint64_t size,
                                              std::shared_ptr<SegmentGround> ground, SegmentRef& out,
                                              SegmentWriter writer = SegmentWriter::mapped, Tail tail = Tail::cut);
  // Maps the file as long as it is.
  static std::optional<Failure> open_read_only(std::string path, std::shared_ptr<SegmentGround> ground, SegmentRef& out);

  MappedSegment(const MappedSegment&) = delete;
  MappedSegment& operator=(const MappedSegment&) = delete;

  // As it was opened.
  const std::string& path() const { return path_; }
  // Where the engine reads and writes.
  uint8_t* base() const { return writable_ ? base_ : view_base_; }
  uint64_t size() const { return size_; }
  uint64_t reserve_bytes() const { return reserve_bytes_; }
  uint64_t allocated_bytes() const { return allocated_.load(std::memory_order_acquire); }
  bool poisoned() const { return mark_->load(std::memory_order_acquire); }
  const Mark& mark() const { return mark_; }
  bool closed() const { return closed_.load(std::memory_order_relaxed); }
  std::pair<dev_t, ino_t> file_identity() const { return {file_.device(), file_.inode()}; }

  std::optional<Failure> append(const uint8_t* source, size_t length, uint64_t& position);

  // Maps the file for JavaScript, if that was not done yet. `out`: reserve_bytes of it.
  std::optional<Failure> view(const uint8_t*& out);

  // Asks for `bytes` beyond what is stored. True when a job that calls `prepare` should be posted.
  bool request_prepare(uint64_t bytes);
  // Background: allocates and touches up to what was asked for, starting to touch at `from`. Failures don't matter here:
  // append meets them again.
  void prepare(uint64_t from);

  // Nothing is appended any more: `release_tail` may follow, on the background thread.
  void end() { ended_.store(true, std::memory_order_release); }
  // Gives back the space behind the first `stored_bytes`, which is all that was ever stored. The file stays as long as it
  // is, and what was allocated there reads as zeros before and after. A courtesy: failures mean that the space stays.
  void release_tail(uint64_t stored_bytes);

  // Makes [position, position + length) of the view, which was made, resident and mapped, so that a read of it does not
  // wait for the disk. Any thread. `stop` is asked between the pieces. A page that cannot be read sets the mark.
  void touch(uint64_t position, uint64_t length, const std::function<bool()>& stop);

  // What was stored so far is on disk when this has returned. Paced: what was stored since the last sync is written back
  // 1 MiB at a time first, because one large sync would make every other sync on the device wait.
  // `pause(time)` is called between the pieces with what the last one took.
  std::optional<Failure> sync(uint64_t stored_bytes, const std::function<void(std::chrono::nanoseconds)>& pause);

  // For the journal's thread, which acknowledges bytes by syncing them here.
  // Makes the file's entry in its directory durable, once. False when the directory cannot be opened now: nothing has
  // failed then, and the bytes have to go another way.
  bool sync_entry(std::optional<Failure>& failure);
  // Starts write-back, so that syncs of two segments run side by side. A courtesy.
  void start_writeback(uint64_t from, uint64_t to);
  // What was stored so far is on disk when this has returned.
  std::optional<Failure> sync_now();

  // The engine appends no more. The mappings stay while references do.
  void close() { closed_.store(true, std::memory_order_relaxed); }
  void file_renamed(const std::string& to) { file_.rename(to); }

 private:
  friend class SegmentRef;
  friend class ViewRef;

  MappedSegment(std::string path, std::shared_ptr<SegmentGround> ground);
  ~MappedSegment();

  std::optional<Failure> set_reserve_bytes(uint64_t reserve_bytes);
  std::optional<Failure> reserve(bool writable, uint8_t*& base, int& guard_slot);
  std::optional<Failure> reserve_for_writing(uint64_t reserve_bytes);
  std::optional<Failure> map_writable(FileDescriptor file, uint64_t size);
  void begin(uint64_t size);
  void read_around(bool wanted);
  Failure mapping_failure(const char* call, int error) const;
  Failure unreadable() const;
  std::optional<Failure> grow(uint64_t required);
  std::optional<Failure> store(const uint8_t* source, size_t length);
  std::optional<Failure> extend_view(uint64_t to);
  int write_back_paced(uint64_t from, uint64_t to, const std::function<void(std::chrono::nanoseconds)>& pause);
  Trace* trace() const { return ground_->health().trace(); }
  void left_by_engine();
  void release();

  std::atomic<uint32_t> references_{1};  // views, and one for all of the engine's
  std::atomic<uint32_t> users_{0};
  const std::string path_;
  const std::shared_ptr<SegmentGround> ground_;
  const Mark mark_ = std::make_shared<std::atomic<bool>>(false);
  PooledFile file_;
  uint8_t* base_ = nullptr;
  uint64_t reserved_ = 0;  // whole pages
  uint64_t reserve_bytes_ = 0;
  bool writable_ = false;
  SegmentWriter writer_ = SegmentWriter::mapped;
  bool registered_ = false;  // with the ground
  std::atomic<bool> closed_{false};
  std::atomic<bool> ended_{false};
  bool has_kept_tail_ = false;  // bytes of an earlier mapping, which somebody may look at
  int guard_slot_ = -1;
  uint64_t size_ = 0;

  std::mutex grow_mutex_;
  uint64_t next_chunk_ = kMinChunkBytes;  // under grow_mutex_
  std::atomic<uint64_t> allocated_{0};    // stores below it hit allocated space

  std::mutex view_mutex_;
  uint8_t* view_base_ = nullptr;
  uint64_t view_mapped_ = 0;  // whole pages of the file; under view_mutex_
  int view_guard_slot_ = -1;

  std::atomic<uint64_t> synced_{0};
  // The kernel tells an error of write-back to one call only, per open file. So one sync at a time, and its error is
  // latched before the next one: a sync that came second would be told that all is well.
  std::mutex sync_mutex_;
  bool entry_durable_ = false;  // journal's thread only
  std::atomic<uint64_t> prepare_target_{0};
  std::atomic<bool> prepare_posted_{false};
  std::mutex populate_mutex_;  // no page is populated once the tail was released
};

}  // namespace varve
