// The journal's writer: one thread that turns the stream of records of a whole data directory into groups, each one
// write of whole blocks and (when something in it asks for it) one fdatasync. docs: journal_format.h for the bytes.
//
// Order. Records become durable in the order they were submitted, whatever their flush mode; a ticket counts them.
//
// When it syncs. A `sync` record or a flush makes it write and sync at once; what is submitted while a sync runs goes into
// the next group. `async` records wait until the oldest is `async_max_ms` old or `async_max_bytes` of them are pending, by
// this thread's clock. `none` records ask for no sync. Relaxed records are written (not synced) whenever 1 MiB is pending,
// so that memory does not grow. However often a flush is requested meanwhile: the sync comes with the group that holds the
// last ticket of the oldest request.
//
// Direct flush. A large run of batches of few segments is made durable by syncing those segments (direct_flush.h). The
// durable mark that says so leads the next group, or a group of its own after `direct_mark_max_ms`.
//
// Files. A file that is full is synced before the next one is begun, and is told of it (JournalFileEnd) when groups of the
// next one are on disk, before those count as durable. So no acknowledged record lies in a file that nothing names.
//
// Failure. The first failed write or sync is final: nothing is durable afterwards, nothing is retried.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "aligned_buffer.h"
#include "background.h"
#include "direct_flush.h"
#include "failure.h"
#include "health.h"
#include "journal_files.h"
#include "journal_group.h"

namespace varve {

struct JournalConfig {
  std::string directory;
  Identity directory_id{};
  uint64_t first_file_number = 0;
  uint64_t start_lsn = 0;
  uint32_t previous_checksum = 0;
  uint64_t file_bytes = 0;  // a multiple of the block size, at least two blocks
  uint64_t max_group_bytes = 0;
  uint64_t async_max_ms = 0;
  uint64_t async_max_bytes = 0;
  uint64_t direct_flush_bytes = 0;  // 0: everything is copied into the journal
  uint64_t direct_mark_max_ms = 0;
  std::vector<std::string> spare_files;
};

struct JournalCounters {
  static constexpr size_t kBuckets = 16;
  uint64_t syncs = 0;         // by the journal's thread, of both kinds
  uint64_t direct_syncs = 0;  // those of segments
  uint64_t direct_flushes = 0;
  uint64_t direct_bytes = 0;
  uint64_t records = 0;
  uint64_t payload_bytes = 0;
  uint64_t written_bytes = 0;
  uint64_t pending_bytes = 0;
  std::array<uint64_t, kBuckets> sync_latency_buckets{};
  double sync_ms_total = 0;
  uint64_t file_rolls = 0;
};

struct JournalProgress {
  uint64_t durable_ticket = 0;
  uint64_t direct_bytes = 0;
  std::optional<Failure> failure;
  bool stopped = false;
  bool started = false;  // the header of the first file is on disk
  JournalSpace space = JournalSpace::enough;
};

class Journal {
 public:
  static constexpr uint64_t kMaxRecordBytes = uint64_t{1} << 31;

  // `notify` is called by the journal's thread whenever `progress` has changed.
  Journal(JournalConfig config, Background& background, std::shared_ptr<Health> health, std::function<void()> notify);
  ~Journal() { stop(false); }

  std::optional<Failure> start();

  uint32_t register_log(const LogIdentity& identity);
  // Takes the next ticket. The record's log must be registered.
  std::optional<Failure> submit(PendingRecord&& record, uint64_t& ticket);
  // Everything submitted so far is to be synced; returns the last ticket of it.
  uint64_t request_flush();
  uint64_t last_ticket() const { return last_ticket_; }
  uint64_t current_file_number() const { return current_file_.load(std::memory_order_relaxed); }
  size_t log_count() const { return log_count_; }
  void recycle(uint64_t file_number) { files_.recycle(file_number); }
  // From now on a full disk ends the journal (disk_full) instead of being waited out. What fits is written as before.
  void stop_waiting() { files_.stop_waiting(); }
  JournalProgress progress() const;
  JournalCounters counters() const;

  // Asks the thread to write and sync what is pending and to end; progress() tells when it has.
  void request_stop();
  // Ends the thread, after what is pending (drain) or after the group at hand. Idempotent.
  void stop(bool drain);

 private:
  using Clock = std::chrono::steady_clock;
  struct AsyncMark {
    std::optional<Clock::time_point> since;  // oldest async record that is not durable
    uint64_t bytes = 0;
  };

  // Under the mutex.
  void note_arrival() { arrivals_.fetch_add(1, std::memory_order_relaxed); }

  // Journal thread.
  void run();
  std::optional<Failure> open_first_file();
  bool wait_for_work();
  bool linger(std::unique_lock<std::mutex>& lock);
  void collect();
  bool work_is_due(Clock::time_point now);
  std::optional<Clock::time_point> async_deadline() const;
  std::optional<Clock::time_point> mark_deadline() const;
  std::optional<Failure> commit();
  bool next_run_is_direct();
  std::optional<Failure> flush_directly();
  std::optional<Failure> sync_segments(std::span<const PendingRecord> records, bool& done);
  std::optional<Failure> write_group(bool marks_are_due);
  std::optional<Failure> make_room();
  std::optional<Failure> roll();
  std::optional<Failure> write_sealed();
  std::optional<Failure> sync();
  std::optional<Failure> end_left_file();
  void count_sync(Clock::time_point began);
  bool sync_is_due(bool group_asks) const;
  void finish(const std::optional<Failure>& failure);

  const JournalConfig config_;
  const std::shared_ptr<Health> health_;
  const std::function<void()> notify_;
  JournalFiles files_;
  std::thread thread_;
  std::atomic<uint64_t> current_file_;  // its header is on disk

  // Submitting thread only.
  uint64_t last_ticket_ = 0;
  size_t log_count_ = 0;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool waiting_ = false;
  bool draining_ = false;
  bool abandoned_ = false;
  bool started_ = false;
  bool stopped_ = false;
  std::optional<Failure> failure_;
  std::vector<LogIdentity> logs_;
  std::vector<PendingRecord> queue_;
  uint64_t queue_bytes_ = 0;
  AsyncMark queue_async_;
  AsyncMark taken_async_;  // of what was taken over and is not durable
  uint64_t submitted_ticket_ = 0;
  std::atomic<uint64_t> arrivals_{0};  // of records, flushes and the end, to be looked at without the mutex
  uint64_t sync_ticket_ = 0;  // everything up to it is to be synced
  uint64_t durable_ticket_ = 0;
  uint64_t durable_payload_bytes_ = 0;
  JournalCounters counters_;

  // Journal thread only.
  std::vector<PendingRecord> taken_;
  size_t taken_next_ = 0;
  uint64_t collected_ticket_ = 0;
  uint64_t wanted_ticket_ = 0;  // sync_ticket_ when it was collected
  uint64_t due_ticket_ = 0;     // the same, of the oldest that is not durable: later ones do not put its sync off
  DirectFlush direct_;
  DirectFlush::Run run_;        // the run that `taken_next_` is in; past when run_.end ≤ taken_next_
  uint64_t journal_ticket_ = 0; // records up to it go into the journal whatever their size
  std::vector<LogIdentity> known_logs_;
  JournalGroup group_;
  AlignedBuffer block_;
  JournalFile file_;
  uint64_t file_position_ = 0;
  bool may_linger_ = false;
  int linger_credit_ = 0;
  Clock::time_point synced_at_{};
  bool file_is_fresh_ = false;  // its header goes with the next group
  // The file before, until it says that this one is on disk.
  struct LeftFile {
    JournalFile file;
    uint64_t position;
    JournalFileEnd end;
  };
  std::optional<LeftFile> left_;
  uint64_t lsn_;
  uint64_t durable_lsn_;
  uint32_t checksum_;
  uint64_t written_ticket_ = 0;
  uint64_t written_payload_bytes_ = 0;
};

}  // namespace varve
