#include "journal_files.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "journal_format.h"

namespace varve {
namespace {

// How often a full disk is asked whether there is space again: one fallocate.
constexpr auto kRetryFullEvery = std::chrono::milliseconds(100);

// A file that is prepared ahead of need is written in pieces with pauses of this many times what the piece took: syncs
// of the journal wait for whatever else the device has been given.
constexpr int kPauseRatio = 3;

bool is_regular(const std::string& path) {
  struct stat found {};
  return ::lstat(path.c_str(), &found) == 0 && S_ISREG(found.st_mode);
}

}  // namespace

JournalFiles::JournalFiles(std::string directory, uint64_t file_bytes, const std::vector<std::string>& spares,
                           Background& background, std::shared_ptr<Health> health, std::function<void()> changed)
    : directory_(std::move(directory)),
      file_bytes_(file_bytes),
      background_(background),
      health_(std::move(health)),
      on_change_(std::move(changed)),
      spares_(spares.begin(), spares.end()) {}

std::optional<Failure> JournalFiles::open() {
  const int error = open_file(directory_, O_RDONLY | O_DIRECTORY, health_->trace(), directory_file_);
  if (error != 0) return system_failure("open", directory_, error);
  return std::nullopt;
}

void JournalFiles::request(uint64_t number) {
  {
    const std::lock_guard lock(mutex_);
    if (state_ == State::preparing || (state_ == State::ready && number_ == number)) return;
    state_ = State::preparing;
    number_ = number;
  }
  background_.post([this, number] { prepare(number); });
}

std::optional<Failure> JournalFiles::take(uint64_t number, JournalFile& out) {
  for (;;) {
    request(number);
    if (set_taking(true)) on_change_();
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] {
      return state_ != State::preparing || (stop_waiting_ && background_.stopping());
    });
    taking_ = false;
    urgent_.store(false, std::memory_order_relaxed);
    if (state_ == State::ready && number_ == number) {
      out = std::move(ready_);
      state_ = State::idle;
      return std::nullopt;
    }
    if (state_ == State::failed) return failure_;
    if (state_ == State::preparing) return Failure{FailureCode::closed, directory_ + " was closed"};
  }
}

// True when `space` has changed by it.
bool JournalFiles::set_taking(bool taking) {
  const std::lock_guard lock(mutex_);
  taking_ = taking;
  urgent_.store(taking, std::memory_order_relaxed);
  return lacks_space_;
}

JournalSpace JournalFiles::space() const {
  const std::lock_guard lock(mutex_);
  if (!lacks_space_) return JournalSpace::enough;
  return taking_ ? JournalSpace::waiting : JournalSpace::lacking;
}

void JournalFiles::stop_waiting() {
  {
    const std::lock_guard lock(mutex_);
    stop_waiting_ = true;
  }
  changed_.notify_all();
}

void JournalFiles::recycle(uint64_t number) {
  const std::lock_guard lock(mutex_);
  spares_.insert(journal_file_name(number));
}

// A full disk is asked again, with pauses, until there is space or nobody waits for it any more.
void JournalFiles::prepare(uint64_t number) {
  for (;;) {
    JournalFile file;
    const auto failure = make(number, file);
    bool again = false;
    bool tell = false;
    {
      const std::lock_guard lock(mutex_);
      const bool lacked_space = lacks_space_;
      lacks_space_ = failure && failure->code == FailureCode::disk_full;
      tell = lacks_space_ != lacked_space || (failure && !lacks_space_);
      again = lacks_space_ && !stop_waiting_;
      if (failure) {
        failure_ = *failure;
        if (!again) state_ = State::failed;
      } else {
        state_ = State::ready;
        ready_ = std::move(file);
      }
    }
    changed_.notify_all();
    if (tell) on_change_();
    if (!again || background_.stopping()) return;
    background_.pause(kRetryFullEvery);
  }
}

std::optional<Failure> JournalFiles::make(uint64_t number, JournalFile& out) {
  if (health_->failed()) return health_->failure();
  out.number = number;
  out.path = path_of(journal_file_name(number));
  bool recycled = false;
  if (auto failure = open_spare(out, out.file, recycled)) return failure;
  if (!recycled) {
    const int error = open_file(out.path, O_RDWR | O_CREAT | O_EXCL, health_->trace(), out.file);
    if (error != 0) return system_failure("creation", out.path, error);
  }
  if (auto failure = fill(out, !recycled)) return failure;
  if (health_->failed()) return health_->failure();
  if (const int error = sync_all(directory_file_); error != 0) {
    const Failure failure = final_failure("fsync", directory_, error);
    health_->fail(failure);
    return failure;
  }
  return std::nullopt;
}

// Renames the oldest spare to the target's name and opens it; one that has that name already, because it could not be made
// ready before, comes first. Spares that have gone, or that are no files (a directory, or a link, which opening does not
// follow), are passed over; one that could not be had stays a spare, so that the next attempt finds what this one found.
std::optional<Failure> JournalFiles::open_spare(const JournalFile& target, FileDescriptor& out, bool& found) {
  for (;;) {
    std::string name;
    {
      const std::lock_guard lock(mutex_);
      if (spares_.empty()) return std::nullopt;
      auto next = spares_.find(journal_file_name(target.number));
      if (next == spares_.end()) next = spares_.begin();
      name = *next;
      spares_.erase(next);
    }
    const auto put_back = [this](std::string spare) {
      const std::lock_guard lock(mutex_);
      spares_.insert(std::move(spare));
    };
    const std::string spare = path_of(name);
    if (!is_regular(spare)) continue;
    if (spare != target.path) {
      if (::access(target.path.c_str(), F_OK) == 0) {
        put_back(std::move(name));
        return Failure{FailureCode::invariant_broken, target.path + " exists already; a journal file is never replaced"};
      }
      if (const int error = rename_file(spare, target.path, health_->trace()); error != 0) {
        if (error == ENOENT) continue;
        put_back(std::move(name));
        return system_failure("rename", spare, error);
      }
    }
    const int error = open_file(target.path, O_RDWR, health_->trace(), out);
    if (error == ENOENT) continue;
    if (error != 0) {
      put_back(journal_file_name(target.number));
      return system_failure("open", target.path, error);
    }
    found = true;
    return std::nullopt;
  }
}

// Nothing in the file is promised to anybody yet, so a full disk is no failed write here: the file is given up. Space is
// allocated first, so that a disk that is full says so at once. A sync that fails for another reason is final, as every
// failed sync is.
std::optional<Failure> JournalFiles::fill(JournalFile& file, bool created) {
  uint64_t present = 0;
  int error = file_size(file.file, present);
  if (error == 0 && present < file_bytes_) error = allocate_blocks(file.file, present, file_bytes_);
  bool sync_failed = false;
  const bool is_short = error == 0 && present < file_bytes_;
  if (is_short) {
    using Clock = std::chrono::steady_clock;
    auto began = Clock::now();
    error = write_zeros(file.file, present, file_bytes_, [&](uint64_t from, uint64_t length) {
      if (background_.stopping() || health_->failed()) return ECANCELED;
      if (urgent_.load(std::memory_order_relaxed)) return 0;
      // Waiting reports an error of the device once, here: the sync below would no longer see it. Other errors mean that
      // this file system can't be paced.
      const int paced = write_back(file.file, from, length, SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
      if (paced == EIO || paced == ENOSPC || paced == EDQUOT) {
        sync_failed = true;
        return paced;
      }
      background_.pause(kPauseRatio * (Clock::now() - began));
      began = Clock::now();
      return 0;
    });
  }
  // A sync that failed somewhere else meanwhile was the last one.
  if (error == 0 && health_->failed()) error = ECANCELED;
  if (is_short && error == 0) {
    error = sync_data(file.file);
    sync_failed = error != 0;
  }
  if (error != 0) {
    if (created || truncate_file(file.file, present) != 0) {
      (void)unlink_file(file.path, health_->trace());
    } else {
      recycle(file.number);
    }
    if (error == ECANCELED && health_->failed()) return health_->failure();
    if (error == ECANCELED) return Failure{FailureCode::closed, directory_ + " was closed"};
    if (sync_failed && error != ENOSPC && error != EDQUOT) {
      const Failure failure = final_failure("fdatasync", file.path, error);
      health_->fail(failure);
      return failure;
    }
    return system_failure("preparation", file.path, error);
  }
  file.bytes = std::max(present, file_bytes_);
  write_past_cache(file.file);
  return std::nullopt;
}

}  // namespace varve
