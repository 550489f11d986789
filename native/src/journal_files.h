// The journal's supply of files. A file is written with zeros once and synced (a sync of a write into written blocks
// needs no metadata commit, which makes it two to three times cheaper), and recycled by renaming it to the next number.
// Both happen on the background thread, ahead of need.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "background.h"
#include "failure.h"
#include "health.h"
#include "posix_file.h"

namespace varve {

// Whether the next file can be made. The order is part of the interface to src/disk/addon.ts.
enum class JournalSpace : uint32_t {
  enough,
  lacking,  // not ahead of need; it is tried again and again
  waiting,  // and the journal stands still until there is space
};

struct JournalFile {
  FileDescriptor file;
  std::string path;
  uint64_t number = 0;
  uint64_t bytes = 0;  // written before, so far
};

class JournalFiles {
 public:
  // `spares` are names of files whose content nobody needs any more. `changed` is called, on whichever thread it happens,
  // when `space` may have changed or a sync has failed.
  JournalFiles(std::string directory, uint64_t file_bytes, const std::vector<std::string>& spares,
               Background& background, std::shared_ptr<Health> health, std::function<void()> changed);

  // Opens the directory, for syncs of its entries.
  std::optional<Failure> open();

  // Starts to prepare the file of this number. One number at a time; asking again is harmless.
  void request(uint64_t number);
  // Waits for the file of this number, requesting it if need be. A full disk is waited out.
  std::optional<Failure> take(uint64_t number, JournalFile& out);
  // Makes every `take` give up, now and later, rather than wait for space.
  void stop_waiting();

  void recycle(uint64_t number);

  JournalSpace space() const;

 private:
  enum class State { idle, preparing, ready, failed };

  bool set_taking(bool taking);
  void prepare(uint64_t number);
  std::optional<Failure> make(uint64_t number, JournalFile& out);
  std::optional<Failure> open_spare(const JournalFile& target, FileDescriptor& out, bool& found);
  std::optional<Failure> fill(JournalFile& file, bool created);
  std::string path_of(const std::string& name) const { return directory_ + "/" + name; }

  const std::string directory_;
  const uint64_t file_bytes_;
  Background& background_;
  const std::shared_ptr<Health> health_;
  const std::function<void()> on_change_;
  FileDescriptor directory_file_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::set<std::string> spares_;  // the oldest is taken first
  State state_ = State::idle;
  uint64_t number_ = 0;
  JournalFile ready_;
  Failure failure_{FailureCode::disk_failed, ""};
  bool stop_waiting_ = false;
  // The last attempt found no space; the file is still being prepared, in turns.
  bool lacks_space_ = false;
  bool taking_ = false;
  // The journal stands still until the file at hand is ready.
  std::atomic<bool> urgent_{false};
};

}  // namespace varve
