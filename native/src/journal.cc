#include "journal.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

namespace varve {
namespace {

// Relaxed records are written when this much is pending.
constexpr uint64_t kWriteBytes = uint64_t{1} << 20;

// Of a file: its header, and the block that ends it.
constexpr uint64_t kBesideGroups = 2 * kJournalBlockBytes;

// How long the thread looks for the next record before it sleeps, and how often in a row in vain: a caller who is told of
// 100 KiB, encodes as much and appends it takes 100 to 150 µs.
constexpr auto kLinger = std::chrono::microseconds(200);
constexpr int kLingerCredit = 4;
constexpr int kLooksPerYield = 32;
// Who was away for so long has shared its core with somebody.
constexpr auto kShared = std::chrono::microseconds(30);

void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

size_t latency_bucket(double microseconds) {
  size_t bucket = 0;
  for (double bound = 16; bucket + 1 < JournalCounters::kBuckets && microseconds >= bound; bound *= 2) bucket++;
  return bucket;
}

}  // namespace

Journal::Journal(JournalConfig config, Background& background, std::shared_ptr<Health> health,
                 std::function<void()> notify)
    : config_(std::move(config)),
      health_(std::move(health)),
      notify_(std::move(notify)),
      files_(config_.directory, config_.file_bytes, config_.spare_files, background, health_, notify_),
      current_file_(config_.first_file_number),
      direct_(config_.direct_flush_bytes),
      group_(config_.directory_id, std::min(config_.max_group_bytes, config_.file_bytes - kBesideGroups)),
      lsn_(config_.start_lsn),
      durable_lsn_(config_.start_lsn),
      checksum_(config_.previous_checksum) {}

std::optional<Failure> Journal::start() {
  if (auto failure = files_.open()) return failure;
  thread_ = std::thread([this] { run(); });
  return std::nullopt;
}

// ---- submitting thread ----

uint32_t Journal::register_log(const LogIdentity& identity) {
  const std::lock_guard lock(mutex_);
  logs_.push_back(identity);
  log_count_ = logs_.size();
  return static_cast<uint32_t>(log_count_ - 1);
}

std::optional<Failure> Journal::submit(PendingRecord&& record, uint64_t& ticket) {
  if (health_->failed()) return health_->failure();
  const FlushMode mode = record.mode;
  const uint64_t length = record.length;
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    if (draining_ || abandoned_) return Failure{FailureCode::closed, "the journal is closed"};
    ticket = record.ticket = last_ticket_ = ++submitted_ticket_;
    note_arrival();
    queue_.push_back(std::move(record));
    queue_bytes_ += length;
    counters_.records++;
    counters_.payload_bytes += length;
    if (mode == FlushMode::sync) {
      sync_ticket_ = ticket;
    } else if (mode == FlushMode::async) {
      if (!queue_async_.since) queue_async_.since = Clock::now();
      queue_async_.bytes += length;
    }
    // A waiting thread is woken for its first reason only; the flag says that it has not been woken yet.
    if (waiting_) {
      const bool starts_timer = mode == FlushMode::async && queue_async_.bytes == length;
      const bool fills_bound = mode == FlushMode::async && taken_async_.bytes + queue_async_.bytes >= config_.async_max_bytes;
      wake = mode == FlushMode::sync || starts_timer || fills_bound || queue_bytes_ >= kWriteBytes;
      if (wake) waiting_ = false;
    }
  }
  if (wake) wake_.notify_one();
  return std::nullopt;
}

uint64_t Journal::request_flush() {
  {
    const std::lock_guard lock(mutex_);
    sync_ticket_ = submitted_ticket_;
    note_arrival();
  }
  wake_.notify_one();
  return last_ticket_;
}

JournalProgress Journal::progress() const {
  const JournalSpace space = files_.space();
  const std::lock_guard lock(mutex_);
  return {durable_ticket_, counters_.direct_bytes, failure_, stopped_, started_, space};
}

JournalCounters Journal::counters() const {
  const std::lock_guard lock(mutex_);
  JournalCounters counters = counters_;
  counters.pending_bytes = counters.payload_bytes - durable_payload_bytes_;
  return counters;
}

void Journal::request_stop() {
  {
    const std::lock_guard lock(mutex_);
    draining_ = true;
    note_arrival();
  }
  wake_.notify_one();
  files_.stop_waiting();
}

void Journal::stop(bool drain) {
  if (!drain) {
    const std::lock_guard lock(mutex_);
    abandoned_ = true;
  }
  request_stop();
  if (thread_.joinable()) thread_.join();
}

// ---- journal thread ----

void Journal::run() {
  pthread_setname_np(pthread_self(), "varve-journal");
  std::optional<Failure> failure = open_first_file();
  while (!failure && wait_for_work()) failure = commit();
  finish(failure);
}

// The header of the first file is made durable by itself: the end of the chain must be on disk even if no group ever
// follows, because older files may be recycled.
std::optional<Failure> Journal::open_first_file() {
  if (auto failure = files_.take(config_.first_file_number, file_)) return failure;
  JournalFileHeader header;
  header.file_number = file_.number;
  header.start_lsn = lsn_;
  header.directory_id = config_.directory_id;
  header.previous_checksum = checksum_;
  uint8_t* const block = block_.reserve(kJournalBlockBytes);
  encode_file_header(header, block);
  if (health_->failed()) return health_->failure();
  if (const int error = write_blocks(file_.file, block, kJournalBlockBytes, 0); error != 0) {
    return final_failure("write", file_.path, error);
  }
  if (const int error = sync_data(file_.file); error != 0) return final_failure("fdatasync", file_.path, error);
  file_position_ = kJournalBlockBytes;
  {
    const std::lock_guard lock(mutex_);
    counters_.written_bytes += kJournalBlockBytes;
    started_ = true;
  }
  notify_();
  return std::nullopt;
}

std::optional<Journal::Clock::time_point> Journal::async_deadline() const {
  const auto since = taken_async_.since ? taken_async_.since : queue_async_.since;
  if (!since) return std::nullopt;
  return *since + std::chrono::milliseconds(config_.async_max_ms);
}

std::optional<Journal::Clock::time_point> Journal::mark_deadline() const {
  const auto oldest = direct_.oldest_mark();
  if (!oldest) return std::nullopt;
  return *oldest + std::chrono::milliseconds(config_.direct_mark_max_ms);
}

// Under the mutex.
bool Journal::work_is_due(Clock::time_point now) {
  const auto deadline = async_deadline();
  const bool bound_reached = taken_async_.bytes + queue_async_.bytes >= config_.async_max_bytes;
  if ((deadline && (now >= *deadline || bound_reached)) || draining_) sync_ticket_ = submitted_ticket_;
  const auto mark = mark_deadline();
  const bool mark_is_due = mark && (now >= *mark || draining_);
  return mark_is_due || sync_ticket_ > durable_ticket_ || taken_next_ < taken_.size() || queue_bytes_ >= kWriteBytes;
}

// False when the thread is to end.
bool Journal::wait_for_work() {
  std::unique_lock lock(mutex_);
  while (!abandoned_ && !work_is_due(Clock::now())) {
    if (draining_) return false;
    if (linger(lock)) continue;
    waiting_ = true;
    const uint64_t seen = submitted_ticket_;
    auto deadline = async_deadline();
    if (const auto mark = mark_deadline(); mark && (!deadline || *mark < *deadline)) deadline = mark;
    if (deadline) {
      wake_.wait_until(lock, *deadline);
    } else {
      wake_.wait(lock);
    }
    waiting_ = false;
    if (submitted_ticket_ != seen && Clock::now() - synced_at_ < kLinger) linger_credit_ = kLingerCredit;
  }
  if (abandoned_) return false;
  collect();
  return true;
}

// A caller that appends again as soon as it is told finds the thread awake: waking a sleeping one costs the caller 15 to 35
// µs on a virtual machine, and its append as much again. Once per sync, and only while such callers are there:
// `linger_credit_` is refilled by an append that came soon enough, and used up by waiting in vain, or at once when somebody
// else wants this core. True when it has let go of the mutex: whatever was looked at before must be looked at again.
bool Journal::linger(std::unique_lock<std::mutex>& lock) {
  if (!may_linger_ || linger_credit_ == 0) return false;
  may_linger_ = false;
  const uint64_t ticket = submitted_ticket_;
  const uint64_t seen = arrivals_.load(std::memory_order_relaxed);
  lock.unlock();
  const auto nothing_came = [&] { return arrivals_.load(std::memory_order_relaxed) == seen; };
  bool is_shared = false;
  auto now = Clock::now();
  for (const auto until = now + kLinger; nothing_came() && now < until && !is_shared;) {
    for (int i = 0; i < kLooksPerYield && nothing_came(); i++) pause_cpu();
    sched_yield();
    const auto before = std::exchange(now, Clock::now());
    is_shared = now - before > kShared;
  }
  lock.lock();
  if (submitted_ticket_ != ticket) {
    linger_credit_ = kLingerCredit;
  } else {
    linger_credit_ = is_shared ? 0 : linger_credit_ - 1;
  }
  return true;
}

// Under the mutex: takes over what was submitted.
void Journal::collect() {
  if (taken_next_ == taken_.size()) {
    taken_.clear();
    taken_next_ = 0;
    taken_.swap(queue_);
  } else {
    taken_.erase(taken_.begin(), taken_.begin() + static_cast<ptrdiff_t>(taken_next_));
    taken_next_ = 0;
    std::move(queue_.begin(), queue_.end(), std::back_inserter(taken_));
    queue_.clear();
  }
  queue_bytes_ = 0;
  collected_ticket_ = submitted_ticket_;
  wanted_ticket_ = sync_ticket_;
  if (due_ticket_ <= durable_ticket_) due_ticket_ = sync_ticket_;
  run_ = {};
  if (!taken_async_.since) taken_async_.since = queue_async_.since;
  taken_async_.bytes += queue_async_.bytes;
  queue_async_ = {};
  for (size_t log = known_logs_.size(); log < logs_.size(); log++) known_logs_.push_back(logs_[log]);
}

// One step: a direct flush, or a group and its sync.
std::optional<Failure> Journal::commit() {
  if (health_->failed()) return health_->failure();
  const auto mark = mark_deadline();
  const bool marks_are_due = mark && (Clock::now() >= *mark || taken_next_ == taken_.size());
  if (!marks_are_due && next_run_is_direct()) return flush_directly();
  return write_group(marks_are_due);
}

bool Journal::next_run_is_direct() {
  if (taken_next_ == taken_.size()) return false;
  if (run_.end <= taken_next_) run_ = direct_.next_run(taken_, taken_next_, wanted_ticket_);
  return run_.direct && taken_[taken_next_].ticket > journal_ticket_;
}

std::optional<Failure> Journal::flush_directly() {
  // What precedes the run is durable before it; the journal may hold groups that nobody waited for.
  if (durable_lsn_ < lsn_) {
    if (auto failure = sync()) return failure;
  }
  const auto records = std::span<const PendingRecord>(taken_).subspan(taken_next_, run_.end - taken_next_);
  bool done = false;
  if (auto failure = sync_segments(records, done)) return failure;
  if (!done) {
    journal_ticket_ = records.back().ticket;
    return std::nullopt;
  }
  uint64_t payload_bytes = 0;
  const auto now = Clock::now();
  for (const PendingRecord& record : records) {
    direct_.note(record);
    direct_.add_mark(record, now);
    payload_bytes += record.length;
  }
  written_ticket_ = records.back().ticket;
  written_payload_bytes_ += payload_bytes;
  for (size_t end = run_.end; taken_next_ < end; taken_next_++) taken_[taken_next_] = {};
  synced_at_ = now;
  may_linger_ = true;
  {
    const std::lock_guard lock(mutex_);
    if (written_ticket_ == collected_ticket_) taken_async_ = {};
    durable_ticket_ = written_ticket_;
    durable_payload_bytes_ = written_payload_bytes_;
    counters_.direct_flushes++;
    counters_.direct_bytes += payload_bytes;
  }
  notify_();
  return std::nullopt;
}

// Not done, and nothing failed: a file cannot be had just now, and the records go into the journal.
std::optional<Failure> Journal::sync_segments(std::span<const PendingRecord> records, bool& done) {
  struct Range {
    MappedSegment* segment;
    uint64_t from;
    uint64_t to;
  };
  std::array<Range, DirectFlush::kMaxSegments> ranges{};
  size_t count = 0;
  std::optional<Failure> failure;
  for (const PendingRecord& record : records) {
    const auto seen = std::find_if(ranges.begin(), ranges.begin() + static_cast<ptrdiff_t>(count),
                                   [&](const Range& range) { return range.segment == record.segment.get(); });
    if (seen != ranges.begin() + static_cast<ptrdiff_t>(count)) {
      seen->to = record.position + record.length;
      continue;
    }
    ranges[count++] = {record.segment.get(), record.position, record.position + record.length};
    if (!record.segment->sync_entry(failure) || failure) return failure;
  }
  if (count > 1) {
    for (size_t i = 0; i < count; i++) ranges[i].segment->start_writeback(ranges[i].from, ranges[i].to);
  }
  for (size_t i = 0; i < count; i++) {
    const auto began = Clock::now();
    if ((failure = ranges[i].segment->sync_now())) return failure;
    // Zeros mapped over an unreadable page are not what was acknowledged.
    if (ranges[i].segment->poisoned()) return unreadable_page(*ranges[i].segment);
    const std::lock_guard lock(mutex_);
    count_sync(began);
    counters_.direct_syncs++;
  }
  done = true;
  return std::nullopt;
}

std::optional<Failure> Journal::write_group(bool marks_are_due) {
  bool asks_for_sync = false;
  uint64_t last_ticket = written_ticket_;
  uint64_t payload_bytes = 0;
  for (PendingRecord& mark : direct_.marks()) {
    const LogIdentity& identity = known_logs_[mark.log];
    group_.add(std::move(mark), identity);
  }
  while (taken_next_ < taken_.size() && group_.accepts(taken_[taken_next_]) && !next_run_is_direct()) {
    PendingRecord& record = taken_[taken_next_++];
    asks_for_sync |= record.mode == FlushMode::sync;
    last_ticket = record.ticket;
    payload_bytes += record.length;
    direct_.note(record);
    group_.add(std::move(record), known_logs_[record.log]);
  }
  const uint64_t from = file_position_;
  if (!group_.empty()) {
    if (auto failure = make_room()) return failure;
    if (auto failure = write_sealed()) return failure;
    group_.clear();
    direct_.marks_written();
  }
  written_ticket_ = last_ticket;
  written_payload_bytes_ += payload_bytes;
  if ((marks_are_due && durable_lsn_ < lsn_) || sync_is_due(asks_for_sync)) return sync();
  // Write-back starts now, so that the sync that covers these bytes some day is short. An error shows at that sync.
  if (file_position_ > from) {
    (void)write_back(file_.file, from, file_position_ - from, SYNC_FILE_RANGE_WRITE);
  }
  return std::nullopt;
}

bool Journal::sync_is_due(bool group_asks) const {
  const std::lock_guard lock(mutex_);
  const auto is_due = [this](uint64_t ticket) { return ticket > durable_ticket_ && ticket <= written_ticket_; };
  return written_ticket_ > durable_ticket_ && (group_asks || is_due(due_ticket_) || is_due(sync_ticket_));
}

// A group larger than a whole file goes into a fresh one and makes it longer.
std::optional<Failure> Journal::make_room() {
  const bool fits = file_position_ + group_.padded_bytes() + kJournalBlockBytes <= file_.bytes;
  if (fits || file_position_ == kJournalBlockBytes) return std::nullopt;
  return roll();
}

std::optional<Failure> Journal::roll() {
  // A file that is left behind is complete: a reader can rely on a later file's header.
  if (durable_lsn_ < lsn_) {
    if (auto failure = sync()) return failure;
  }
  JournalFile next;
  if (auto failure = files_.take(file_.number + 1, next)) return failure;
  JournalFileEnd end;
  end.lsn = lsn_;
  end.file_number = file_.number;
  end.next_file_number = next.number;
  end.previous_checksum = checksum_;
  left_ = {std::move(file_), file_position_, end};
  file_ = std::move(next);
  file_position_ = kJournalBlockBytes;
  file_is_fresh_ = true;
  const std::lock_guard lock(mutex_);
  counters_.file_rolls++;
  return std::nullopt;
}

std::optional<Failure> Journal::write_sealed() {
  const GroupPlace place{file_.number, lsn_, durable_lsn_, checksum_, file_is_fresh_};
  if (auto failure = group_.seal(place)) return failure;
  const uint64_t from = file_is_fresh_ ? 0 : file_position_;
  const auto bytes = group_.bytes();
  if (const int error = write_blocks(file_.file, bytes.data(), bytes.size(), from); error != 0) {
    return final_failure("write", file_.path, error);
  }
  const uint64_t padded = group_.padded_bytes();
  // A group that makes the file longer makes room for its end as well.
  const uint64_t end_at = file_position_ + padded;
  if (end_at + kJournalBlockBytes > file_.bytes) {
    uint8_t* const zeros = block_.reserve(kJournalBlockBytes);
    std::fill_n(zeros, kJournalBlockBytes, uint8_t{0});
    if (const int error = write_blocks(file_.file, zeros, kJournalBlockBytes, end_at); error != 0) {
      return final_failure("write", file_.path, error);
    }
    file_.bytes = end_at + kJournalBlockBytes;
  }
  checksum_ = group_.checksum();
  lsn_ += padded;
  file_position_ += padded;
  file_is_fresh_ = false;
  // Early, because it is made slowly.
  if (file_position_ >= file_.bytes / 4) files_.request(file_.number + 1);
  const std::lock_guard lock(mutex_);
  counters_.written_bytes += file_position_ - from;
  return std::nullopt;
}

std::optional<Failure> Journal::sync() {
  if (health_->failed()) return health_->failure();
  const auto began = Clock::now();
  if (const int error = sync_data(file_.file); error != 0) return final_failure("fdatasync", file_.path, error);
  if (left_) {
    if (auto failure = end_left_file()) return failure;
  }
  // A sync that failed elsewhere in the store ends all promises, this one included.
  if (health_->failed()) return health_->failure();
  durable_lsn_ = lsn_;
  // Not before: a checkpoint that names a file says that it is there.
  current_file_.store(file_.number, std::memory_order_relaxed);
  synced_at_ = Clock::now();
  may_linger_ = true;
  direct_.marks_durable();
  {
    const std::lock_guard lock(mutex_);
    if (written_ticket_ == collected_ticket_) taken_async_ = {};
    durable_ticket_ = written_ticket_;
    durable_payload_bytes_ = written_payload_bytes_;
    count_sync(began);
  }
  notify_();
  return std::nullopt;
}

// Everything written so far is on disk. Not before: the end of the file that was left says so.
std::optional<Failure> Journal::end_left_file() {
  LeftFile& left = *left_;
  if (health_->failed()) return health_->failure();
  left.end.durable_lsn = lsn_;
  uint8_t* const block = block_.reserve(kJournalBlockBytes);
  encode_file_end(left.end, config_.directory_id, block);
  if (const int error = write_blocks(left.file.file, block, kJournalBlockBytes, left.position); error != 0) {
    return final_failure("write", left.file.path, error);
  }
  const auto began = Clock::now();
  if (const int error = sync_data(left.file.file); error != 0) {
    return final_failure("fdatasync", left.file.path, error);
  }
  left_.reset();
  const std::lock_guard lock(mutex_);
  counters_.written_bytes += kJournalBlockBytes;
  count_sync(began);
  return std::nullopt;
}

// Under the mutex.
void Journal::count_sync(Clock::time_point began) {
  const std::chrono::duration<double, std::micro> took = Clock::now() - began;
  counters_.syncs++;
  counters_.sync_ms_total += took.count() / 1000;
  counters_.sync_latency_buckets[latency_bucket(took.count())]++;
}

void Journal::finish(const std::optional<Failure>& failure) {
  if (failure) health_->fail(*failure);
  group_.clear();
  taken_.clear();
  taken_next_ = 0;
  file_ = {};
  left_.reset();
  {
    const std::lock_guard lock(mutex_);
    failure_ = failure;
    stopped_ = true;
    queue_.clear();
  }
  notify_();
}

}  // namespace varve
